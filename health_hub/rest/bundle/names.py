"""What the entries of a transaction are called before they have an id, and every place that calls them so (R4 bundle.html#references).

An entry goes by its fullUrl; by `Type/id` for entries whose fullUrl has the same root, or none; and a POST without
fullUrl by the id its resource claims.
"""

import html
from dataclasses import dataclass, field
from typing import Any

from health_hub.fhir import references
from health_hub.fhir.outcome import Issue
from health_hub.fhir.references import Conditional, Slot
from health_hub.rest.bundle.entry import Entry

_NAMED = frozenset(("create", "update", "patch"))


class Names:
    """Names of the entries, as seen from each of them."""

    def __init__(self, entries: list[Entry], base: str) -> None:
        self._absolute: dict[str, Entry] = {}
        self._relative: dict[str, dict[str, Entry]] = {}
        self._own = base + "/"
        self._seen: dict[str, dict[str, Entry]] = {}
        self.duplicates: list[Issue] = []
        given: dict[str, Entry] = {}
        for entry in entries:
            if entry.kind in ("get", "search", "operation"):
                continue
            url = entry.full_url
            if url is not None:
                if url in given:
                    why = f"fullUrl {url} is that of entry {given[url].index} too"
                    self.duplicates.append(Issue("duplicate", why, (f"{entry.at}.fullUrl",)))
                given[url] = entry
            if entry.kind in _NAMED:
                self._add(entry)
        # Names that can mean nothing outside of this Bundle.
        self.urns = {name: entry for name, entry in self._absolute.items() if name[:4] == "urn:"}

    def _add(self, entry: Entry) -> None:
        url = entry.full_url
        if url is None:
            claimed = entry.resource.get("id") if entry.kind == "create" and entry.resource else None
            if type(claimed) is str:
                self._relative.setdefault("", {}).setdefault(f"{entry.type}/{claimed}", entry)
            return
        if url[:4] == "urn:":
            self._absolute[url.lower()] = entry
            self._absolute[url] = entry
        elif (literal := references.literal(url)) is not None:
            if literal.base:
                self._absolute[url] = entry
            self._relative.setdefault(literal.base, {})[literal.reference] = entry
        else:
            self._absolute[url] = entry

    def seen_from(self, entry: Entry) -> dict[str, Entry]:
        """name -> entry, for the references in this entry's resource. One dict for all who see the same."""
        url = entry.full_url
        literal = references.literal(url) if url is not None and url[:4] != "urn:" else None
        root = literal.base if literal is not None else ""
        known = self._seen.get(root)
        if known is None:
            near = self._relative.get(root or self._own, {})
            known = self._seen[root] = {**self._relative.get("", {}), **near, **self._absolute}
        return known


@dataclass(slots=True)
class Links:
    """Every place in the resources of a transaction that has to be filled before they are stored."""

    # Those that take the whole `Type/id` of an entry, by far the most.
    plain: list[tuple[Slot, Entry]] = field(default_factory=list)
    # With what comes after: a version to be renewed (True), a #fragment.
    parts: list[tuple[Slot, Entry, bool, str]] = field(default_factory=list)
    # Conditional references, by their text without fragment.
    searches: dict[str, list[tuple[Entry, Slot, Conditional]]] = field(default_factory=dict)
    narratives: list[tuple[Slot, dict[str, Entry]]] = field(default_factory=list)
    # Entries that a version-specific reference names: their next version must be known beforehand.
    versioned: set[int] = field(default_factory=set)
    issues: list[Issue] = field(default_factory=list)

    def collect(self, entry: Entry, resource: dict[str, Any], names: dict[str, Entry]) -> None:
        """Walk one resource, once."""
        found, uris, narratives = references.slots(resource, names)
        for slot in found:
            target = names.get(slot[2])
            if target is not None:
                self.plain.append((slot, target))
            else:
                self._other(entry, resource, slot, names)
        for slot in uris:
            self.plain.append((slot, names[slot[2]]))
        for slot in narratives:
            parts = [references.split(html.unescape(url)) for url in references.links(slot[2])]
            if any(name in names for name, _, _ in parts):
                self.narratives.append((slot, names))
                self.versioned.update(names[name].index for name, version, _ in parts if version and name in names)

    def _other(self, entry: Entry, resource: dict[str, Any], slot: Slot, names: dict[str, Entry]) -> None:
        text = slot[2]
        search = references.conditional(text)
        if search is not None:
            self.searches.setdefault(text.partition("#")[0], []).append((entry, slot, search))
            return
        name, version, fragment = references.split(text)
        target = names.get(name) or (names.get(name.lower()) if name[:4] == "urn:" else None)
        if target is not None:
            self.parts.append((slot, target, bool(version), fragment))
            if version:
                self.versioned.add(target.index)
        elif name.lower().startswith(("urn:uuid:", "urn:oid:")):
            at = f"{entry.at}.resource.{references.path(resource, slot)}"
            self.issues.append(Issue("not-found", f"{text} is not the fullUrl of any entry that is created or updated here", (at,)))

    def path(self, entry: Entry, slot: Slot) -> str:
        """Where in its resource a slot stands, for messages."""
        return references.path(entry.resource or {}, slot)

    def fill(self, targets: list[str | None], versions: dict[int, int], found: dict[str, str]) -> None:
        """Put the ids in. targets: `Type/id` by entry; versions: those of `versioned`; found: `Type/id` of each search."""
        for (holder, key, _), entry in self.plain:
            holder[key] = targets[entry.index]  # type: ignore[index]
        for slot, entry, versioned, fragment in self.parts:
            version = f"/_history/{versions[entry.index]}" if versioned else ""
            references.fill(slot, f"{targets[entry.index]}{version}{fragment}")
        for text, uses in self.searches.items():
            target = found.get(text)
            if target is not None:
                for _, slot, search in uses:
                    references.fill(slot, target + search.fragment)
        for slot, names in self.narratives:

            def new(url: str, names: dict[str, Entry] = names) -> str | None:
                name, version, fragment = references.split(url)
                entry = names.get(name)
                if entry is None:
                    return None
                return f"{targets[entry.index]}" + (f"/_history/{versions[entry.index]}" if version else "") + fragment

            references.fill(slot, references.rewrite_narrative(slot[2], new))
