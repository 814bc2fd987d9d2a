"""How many resources match."""

from health_hub.store.condition import (
    NOTHING,
    All,
    Among,
    Any_,
    Condition,
    Consented,
    Decided,
    Element,
    Ids,
    Keys,
    Near,
    Not_,
    OfType,
    Owned,
    Persons,
    ReferredBy,
    RefersTo,
    Related,
    Selves,
    Source,
    Unlabelled,
    Updated,
    Written,
    conjuncts,
)
from health_hub.store.search.ranges import range_count
from health_hub.store.search.resolve import World
from health_hub.store.search.sizes import smallest
from health_hub.store.search.sql import implies_type, type_key


async def total(source: Source, world: World) -> int:
    if source.condition == NOTHING:
        return 0
    along = await range_count(source, world)
    if along is not None:
        return int((await world.fetch(along[0], along[1].args))[0][0])
    if world.dialect == "postgresql":
        sql = world.sql(literal=True)
        text = f"FROM resource r WHERE {sql.visible('r', source.types, source.condition)}"
    else:
        sql = world.sql()
        parts = conjuncts(source.condition)
        by, _ = await smallest(source, world)
        if by is None and len(source.types) == 1 and not any(type(p) is Ids or type(p) is Selves for p in parts):
            by = Keys((type_key(source.types[0]),))
        if type(by) is Keys and not any(map(_needs_row, parts)) and (implies_type(parts) or by not in parts):
            # The keys say it all: no resource is read.
            where = sql.visible("r", source.types, source.condition, "d.rid", given=by)
            text = f"FROM ({sql.rids(by)}) d WHERE {where}"
        else:
            text = sql.from_where(source, by, "r")
    return int((await world.fetch(f"SELECT count(*) {text}", sql.args))[0][0])


def _needs_row(condition: Condition) -> bool:
    match condition:
        case All(parts=parts) | Any_(parts=parts):
            return any(map(_needs_row, parts))
        case Not_(part=part):
            return _needs_row(part)
        case Ids() | Updated() | Selves() | OfType() | RefersTo() | ReferredBy():
            return True
        case Owned() | Written() | Persons() | Among() | Unlabelled() | Related() | Consented() | Decided():
            return True
        case Element() | Near():
            return False
        case _:
            return False
