package services;

import dev.restate.sdk.auth.signing.RestateRequestIdentityVerifier;
import dev.restate.sdk.endpoint.Endpoint;
import dev.restate.sdk.http.vertx.HttpEndpointRequestHandler;
import dev.restate.sdk.http.vertx.RestateHttpServer;
import io.vertx.core.http.Http2Settings;
import io.vertx.core.http.HttpServerOptions;
import java.util.List;
import java.util.stream.Stream;

/** The SDK test services in Java. The contract, with every handler's meaning, is ../README.md. */
public final class Main {
  /** Tests keep many attempts on few connections. */
  private static final long STREAMS_MAX = 1000;

  private static final List<List<Definition>> DEFINITIONS =
      List.of(
          Calls.definitions(),
          Objects.definitions(),
          Steps.definitions(),
          States.definitions(),
          Awakeables.definitions(),
          Others.definitions(),
          Interpreter.definitions());

  private Main() {}

  public static void main(String[] args) {
    var endpoint = Endpoint.builder();
    Stream.ofNullable(System.getenv("IDENTITY_KEY"))
        .map(RestateRequestIdentityVerifier::fromKey)
        .forEach(endpoint::withRequestIdentityVerifier);
    DEFINITIONS.stream().flatMap(List::stream).map(Definition::build).forEach(endpoint::bind);
    var http1 = "1".equals(System.getenv("HTTP1"));
    var port = Stream.ofNullable(System.getenv("PORT")).mapToInt(Integer::parseInt).findFirst().orElse(0);
    var options =
        new HttpServerOptions()
            .setHost("127.0.0.1")
            .setPort(port)
            .setInitialSettings(new Http2Settings().setMaxConcurrentStreams(STREAMS_MAX));
    RestateHttpServer.fromHandler(HttpEndpointRequestHandler.fromEndpoint(endpoint.build(), http1), options)
        .listen()
        .onSuccess(server -> System.out.println("ready " + server.actualPort()))
        .onFailure(
            error -> {
              error.printStackTrace();
              System.exit(1);
            });
  }
}
