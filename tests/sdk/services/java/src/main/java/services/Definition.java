package services;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.NullNode;
import dev.restate.sdk.Context;
import dev.restate.sdk.HandlerRunner;
import dev.restate.sdk.endpoint.definition.HandlerDefinition;
import dev.restate.sdk.endpoint.definition.HandlerType;
import dev.restate.sdk.endpoint.definition.ServiceDefinition;
import dev.restate.sdk.endpoint.definition.ServiceType;
import dev.restate.serde.Serde;
import dev.restate.serde.SerdeFactory;
import java.util.ArrayList;
import java.util.List;

/** A service in the making: handlers are plain functions of a context and JSON. */
final class Definition {
  /** What a handler does with its input. */
  interface Body<C extends Context> {
    Object handle(C context, JsonNode input) throws Exception;
  }

  /** What a handler without input does. */
  interface Plain<C extends Context> {
    Object handle(C context) throws Exception;
  }

  /** What a handler of bytes does. */
  interface Raw<C extends Context> {
    byte[] handle(C context, byte[] input) throws Exception;
  }

  private final String name;
  private final ServiceType type;
  private final List<HandlerDefinition<?, ?>> handlers = new ArrayList<>();
  private boolean isLazy;

  private Definition(String name, ServiceType type) {
    this.name = name;
    this.type = type;
  }

  static Definition service(String name) {
    return new Definition(name, ServiceType.SERVICE);
  }

  static Definition object(String name) {
    return new Definition(name, ServiceType.VIRTUAL_OBJECT);
  }

  static Definition workflow(String name) {
    return new Definition(name, ServiceType.WORKFLOW);
  }

  /** State is not sent along. */
  Definition lazy() {
    isLazy = true;
    return this;
  }

  /** A handler of a service, an exclusive one of an object, the main one of a workflow. */
  <C extends Context> Definition on(String handler, Body<C> body) {
    return this.<C, JsonNode, Object>add(
        handler, own(), Json.NODE, Json.ANY, (context, input) -> some(body.handle(context, input)));
  }

  <C extends Context> Definition on(String handler, Plain<C> body) {
    return this.<C, Void, Object>add(
        handler, own(), Serde.VOID, Json.ANY, (context, none) -> some(body.handle(context)));
  }

  <C extends Context> Definition shared(String handler, Body<C> body) {
    return this.<C, JsonNode, Object>add(
        handler, HandlerType.SHARED, Json.NODE, Json.ANY, (context, input) -> some(body.handle(context, input)));
  }

  <C extends Context> Definition shared(String handler, Plain<C> body) {
    return this.<C, Void, Object>add(
        handler, HandlerType.SHARED, Serde.VOID, Json.ANY, (context, none) -> some(body.handle(context)));
  }

  <C extends Context> Definition raw(String handler, Raw<C> body) {
    add(handler, own(), Serde.RAW, Serde.RAW, body::handle);
    var last = handlers.size() - 1;
    handlers.set(last, handlers.get(last).withAcceptContentType("*/*"));
    return this;
  }

  <C extends Context> Definition sharedRaw(String handler, Plain<C> body) {
    return this.<C, Void, byte[]>add(
        handler, HandlerType.SHARED, Serde.VOID, Serde.RAW, (context, none) -> (byte[]) body.handle(context));
  }

  /** The SDK takes no null from a handler. */
  private static Object some(Object output) {
    return output == null ? NullNode.instance : output;
  }

  private interface Function<C, I, O> {
    O apply(C context, I input) throws Exception;
  }

  private <C extends Context, I, O> Definition add(
      String handler, HandlerType kind, Serde<I> input, Serde<O> output, Function<C, I, O> body) {
    HandlerRunner<I, O> runner =
        HandlerRunner.of(
            (C context, I value) -> body.apply(context, value), SerdeFactory.NOOP, HandlerRunner.Options.DEFAULT);
    handlers.add(HandlerDefinition.of(handler, kind, input, output, runner));
    return this;
  }

  private HandlerType own() {
    return switch (type) {
      case SERVICE -> HandlerType.SHARED;
      case VIRTUAL_OBJECT -> HandlerType.EXCLUSIVE;
      case WORKFLOW -> HandlerType.WORKFLOW;
    };
  }

  ServiceDefinition build() {
    var definition = ServiceDefinition.of(name, type, handlers);
    return isLazy ? definition.configure(options -> options.enableLazyState(true)) : definition;
  }
}
