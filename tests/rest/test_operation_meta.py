"""$meta, $meta-add, $meta-delete."""

from typing import Any

import httpx

from tests.rest.bundles import patient

TAG = {"system": "http://example.org/tags", "code": "a"}
LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
PROFILE = "http://example.org/StructureDefinition/p"


def given(**meta: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}


async def answered(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    body = response.json()
    assert [p["name"] for p in body["parameter"]] == ["return"]
    meta: dict[str, Any] = body["parameter"][0]["valueMeta"]
    return meta


async def test_meta_of_a_resource_and_of_a_version(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a", meta={"tag": [TAG]}))
    await client.put("Patient/a", json=patient(id="a"))
    now = await answered(await client.get("Patient/a/$meta"))
    assert (now["versionId"], now.get("tag")) == ("2", None)
    then = await answered(await client.get("Patient/a/_history/1/$meta"))
    assert (then["versionId"], then["tag"]) == ("1", [TAG])
    assert (await answered(await client.post("Patient/a/$meta")))["versionId"] == "2"
    assert (await client.get("Patient/never/$meta")).status_code == 404
    await client.delete("Patient/a")
    assert (await client.get("Patient/a/$meta")).status_code == 410


async def test_meta_add_makes_sets(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a", meta={"tag": [TAG | {"display": "A"}]}))
    after = await answered(
        await client.post("Patient/a/$meta-add", json=given(tag=[TAG, {"code": "b"}, {"code": "b"}], security=[LABEL], profile=[PROFILE]))
    )
    assert after["tag"] == [TAG | {"display": "A"}, {"code": "b"}]
    assert after["security"] == [LABEL]
    assert after["profile"] == [PROFILE]
    assert after["versionId"] == "2"
    stored = (await client.get("Patient/a")).json()
    assert stored["meta"] == after
    assert stored["name"] == patient()["name"]
    again = await answered(await client.post("Patient/a/$meta-add", json=given(tag=[TAG])))
    assert again["versionId"] == "2"  # nothing changed, so nothing was written


async def test_meta_delete(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a", meta={"tag": [TAG, {"code": "b"}], "profile": [PROFILE]}))
    after = await answered(await client.post("Patient/a/$meta-delete", json=given(tag=[TAG, {"code": "never"}], profile=[PROFILE])))
    assert after["tag"] == [{"code": "b"}]
    assert "profile" not in after


async def test_what_the_meta_operations_refuse(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a"))
    assert (await client.get("Patient/a/$meta-add")).status_code == 405
    assert (await client.post("Patient/a/$meta-add")).status_code == 400
    assert (await client.post("Patient/a/$meta-add", json=given(tag=[{"code": 7}]))).status_code == 400
    assert (await client.post("Patient/a/$meta-add", json=given(nonsense=1))).status_code == 400
    assert (await client.post("Patient/never/$meta-add", json=given(tag=[TAG]))).status_code == 404
    assert (await client.post("Patient/a/$meta-add", json=given(tag=[TAG]), headers={"If-Match": 'W/"7"'})).status_code == 412
    assert (await client.post("Patient/a/_history/1/$meta-add", json=given(tag=[TAG]))).status_code == 405
    assert (await client.post("Patient/a/$meta-add", json=patient())).status_code == 400
    assert (await client.get("Patient/a/$meta?nonsense=1")).status_code == 400


async def test_meta_of_a_type_and_of_the_system(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a", meta={"tag": [TAG], "profile": [PROFILE]}))
    await client.put("Patient/b", json=patient(id="b", meta={"tag": [TAG | {"display": "again"}]}))
    await client.put("Organization/o", json={"resourceType": "Organization", "id": "o", "name": "x", "meta": {"security": [LABEL]}})
    of_type = await answered(await client.get("Patient/$meta"))
    assert of_type == {"profile": [PROFILE], "tag": [TAG]}
    assert await answered(await client.get("$meta")) == {"profile": [PROFILE], "security": [LABEL], "tag": [TAG]}
    assert await answered(await client.get("Device/$meta")) == {}
