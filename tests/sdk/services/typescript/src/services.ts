// All services, for the process that serves them over HTTP and for the one that is a function.

import { caller, greeter } from "./calls.ts";
import { lazyMap, listObject, mapObject } from "./collections.ts";
import { combine, nonDet } from "./combine.ts";
import { proxy, signals } from "./generic.ts";
import { interpreter } from "./interpreter.ts";
import { counter, events, gate } from "./objects.ts";
import { sleeper, steps } from "./steps.ts";
import { awaiter, blocker, holder, tree } from "./waiting.ts";

export const services = [
  ...[greeter, caller, proxy, signals, steps, sleeper, combine, awaiter],
  ...[counter, gate, events, listObject, mapObject, lazyMap, holder, tree, nonDet, interpreter],
  blocker,
];

/** The only key whose signatures are believed, if there is one. */
export const identityKeys = process.env.IDENTITY_KEY ? [process.env.IDENTITY_KEY] : undefined;
