"""The forms of the forwarding step that can be tested here."""

import shutil

import pytest

from telemed.relay.build import Form, build


def have(form: Form) -> Form:
    """The form, built; skips where it cannot be."""
    if form == "compiled":
        if shutil.which("cc") is None:
            pytest.skip("no C compiler: apt-get install gcc libc6-dev")
        build()
    return form
