"""Every command of docs/api.md does what the document shows."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.processes import Hub

ROOT = Path(__file__).parent.parent
API = ROOT / "docs" / "api.md"


def _examples() -> Any:
    spec = importlib.util.spec_from_file_location("docs_examples", ROOT / "docs" / "examples.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def base(tmp_path: Path) -> Iterator[str]:
    hub = Hub(f"sqlite:///{tmp_path / 'hub.db'}", None, "--demo")
    yield f"http://127.0.0.1:{hub.port}/fhir"
    hub.stop()
    hub.log.close()


def test_every_command_gives_what_is_written(base: str) -> None:
    docs = _examples()
    listed = list(docs.examples(API.read_text("utf-8")))
    assert len(listed) > 25
    for command, written in listed:
        real = docs.run(command, base)
        assert docs.missing(written, real) is None, f"{command}\n\nmissing: {docs.missing(written, real)}\n\n{real[:3000]}"


def test_the_limits_are_those_of_the_settings() -> None:
    text = API.read_text("utf-8")
    assert text == _examples().with_limits(text)


def test_fixed_limits_are_as_written() -> None:
    from health_hub.fhir import json
    from health_hub.fhir.patch import json_patch, parameters  # noqa: F401
    from health_hub.fhir.search import filter, parse, path, result, values
    from health_hub.fhir.xml import layout, read
    from health_hub.rest import protocol

    text = " ".join(API.read_text("utf-8").split())
    for said in (
        f"{parse.MAX_CONDITIONS} conditions",
        f"{path.MAX_VALUES:,} values of one parameter",
        f"{values.MAX_LENGTH:,} characters of one value",
        f"{path.MAX_HOPS} links of a chain",
        f"{result.MAX_INCLUDES} `_include`s",
        f"{result.MAX_SORTS} `_sort`s",
        f"{filter.MAX_DEPTH} levels of brackets",
        f"{filter.MAX_TESTS} tests in a `_filter`",
        f"JSON and XML nested {layout.MAX_DEPTH} levels",
        f"{json.MAX_VALUES:,} values in one JSON body",
        f"{read.MAX_TAGS:,} tags in one XML body",
        f"{parameters.MAX_OPERATIONS:,} of a FHIRPath Patch",
        f"{protocol.HEAD_BYTES >> 10} KiB of headers",
        f"{protocol.HEAD_SECONDS:g} s to send them",
    ):
        assert said in text, said
