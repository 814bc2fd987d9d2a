"""A browser as a person would call it, from its User-Agent: for the list of sessions, and for nothing that matters."""

_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("coc_coc", "Cốc Cốc"), ("SamsungBrowser", "Samsung Internet"), ("Zalo", "Zalo"),
             ("Firefox", "Firefox"), ("FxiOS", "Firefox"), ("CriOS", "Chrome"), ("Chrome", "Chrome"), ("Safari", "Safari"))  # fmt: skip
_SYSTEMS = (("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS X", "macOS"),
            ("CrOS", "ChromeOS"), ("Linux", "Linux"))  # fmt: skip


def browser_name(agent: str) -> str:
    """`Chrome, Android`; what is not known is its first 40 printable characters."""
    agent = agent[:500]
    browser = next((shown for mark, shown in _BROWSERS if mark in agent), "")
    system = next((shown for mark, shown in _SYSTEMS if mark in agent), "")
    return ", ".join(filter(None, (browser, system))) or "".join(c for c in agent if c.isprintable())[:40]
