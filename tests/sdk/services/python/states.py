"""`ListObject`, `MapObject` and `LazyMap`: every way to use state, with and without its being sent along."""

from restate import ObjectContext, ObjectSharedContext, VirtualObject

from support import MaybeSerde

list_object = VirtualObject("ListObject")


@list_object.handler(name="append")
async def list_append(ctx: ObjectContext, value: str) -> int:
    values = await ctx.get("list") or []
    values.append(value)
    ctx.set("list", values)
    return len(values)


@list_object.handler(name="get", kind="shared")
async def list_get(ctx: ObjectSharedContext) -> list[str]:
    return await ctx.get("list") or []


@list_object.handler(name="clear")
async def list_clear(ctx: ObjectContext) -> list[str]:
    values = await ctx.get("list") or []
    ctx.clear("list")
    return values


def map_object(service: str, lazy: bool) -> VirtualObject:
    """The same handlers for both ways to get at state."""
    made = VirtualObject(service, state_preload=False) if lazy else VirtualObject(service)

    @made.handler(name="set")
    async def set_one(ctx: ObjectContext, entry: dict[str, str]) -> None:
        ctx.set(entry["name"], entry["value"])

    @made.handler(name="setMany")
    async def set_many(ctx: ObjectContext, entries: list[dict[str, str]]) -> None:
        for entry in entries:
            ctx.set(entry["name"], entry["value"])

    @made.handler(name="get", kind="shared", output_serde=MaybeSerde())
    async def get(ctx: ObjectSharedContext, name: str) -> object:
        return await ctx.get(name)

    @made.handler(name="getExclusive", output_serde=MaybeSerde())
    async def get_exclusive(ctx: ObjectContext, name: str) -> object:
        return await ctx.get(name)

    @made.handler(name="clear")
    async def clear(ctx: ObjectContext, name: str) -> None:
        ctx.clear(name)

    @made.handler(name="clearAll")
    async def clear_all(ctx: ObjectContext) -> list[str]:
        names = sorted(await ctx.state_keys())
        ctx.clear_all()
        return names

    @made.handler(name="keys", kind="shared")
    async def keys(ctx: ObjectSharedContext) -> list[str]:
        return sorted(await ctx.state_keys())

    @made.handler(name="entries", kind="shared")
    async def entries(ctx: ObjectSharedContext) -> dict[str, str]:
        return {name: await ctx.get(name) for name in await ctx.state_keys()}

    @made.handler(name="churn")
    async def churn(ctx: ObjectContext, name: str) -> list[object]:
        before = await ctx.get(name)
        ctx.set(name, "1")
        one = await ctx.get(name)
        ctx.clear(name)
        cleared = await ctx.get(name)
        ctx.set(name, "2")
        ctx.clear_all()
        after = await ctx.get(name)
        names = await ctx.state_keys()
        ctx.set(name, "3")
        return [before, one, cleared, after, names]

    return made


eager_map = map_object("MapObject", lazy=False)
lazy_map = map_object("LazyMap", lazy=True)
