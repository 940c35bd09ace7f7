"""`Blocker`: a workflow that waits for a promise, and what asks about it."""

from typing import Any

from restate import Workflow, WorkflowContext, WorkflowSharedContext

from support import MaybeSerde

blocker = Workflow("Blocker")


@blocker.main()
async def run(ctx: WorkflowContext, text: str) -> str:
    ctx.set("stage", "waiting")
    ctx.set("input", text)
    value = await ctx.promise("gate", type_hint=str)
    ctx.set("stage", "passed")
    result = f"{text} {value}"
    await ctx.promise("done", type_hint=str).resolve(result)
    return result


@blocker.handler(output_serde=MaybeSerde())
async def stage(ctx: WorkflowSharedContext) -> object:
    return await ctx.get("stage")


@blocker.handler()
async def resolve(ctx: WorkflowSharedContext, value: str) -> None:
    await ctx.promise("gate", type_hint=str).resolve(value)


@blocker.handler()
async def reject(ctx: WorkflowSharedContext, reason: str) -> None:
    await ctx.promise("gate", type_hint=str).reject(reason)


@blocker.handler(output_serde=MaybeSerde())
async def peek(ctx: WorkflowSharedContext) -> object:
    return await ctx.promise("gate", type_hint=str).peek()


@blocker.handler(name="awaitGate")
async def await_gate(ctx: WorkflowSharedContext) -> str:
    return await ctx.promise("gate", type_hint=str)


@blocker.handler(name="awaitDone")
async def await_done(ctx: WorkflowSharedContext) -> str:
    return await ctx.promise("done", type_hint=str)


@blocker.handler()
async def submit(ctx: WorkflowSharedContext, other: dict[str, Any]) -> str:
    return await ctx.workflow_call(run, key=other["key"], arg=other["input"])
