// The SDK test services in Go. The contract, with every handler's meaning, is ../README.md.
package main

import (
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/restatedev/sdk-go/server"
)

// Tests keep many attempts on few connections.
const streamsMax = 1000

func main() {
	log.SetFlags(0)
	http1 := os.Getenv("HTTP1") == "1"
	logs := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})
	services := server.NewRestate().WithLogger(logs, true).Bidirectional(!http1)
	if key := os.Getenv("IDENTITY_KEY"); key != "" {
		services.WithIdentityV1(key)
	}
	for _, definition := range definitions() {
		services.Bind(definition)
	}
	handler, err := services.Handler()
	if err != nil {
		log.Fatal(err)
	}

	port := os.Getenv("PORT")
	if port == "" {
		port = "0"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(http1)
	protocols.SetUnencryptedHTTP2(!http1)
	serving := http.Server{
		Handler:   handler,
		Protocols: &protocols,
		HTTP2:     &http.HTTP2Config{MaxConcurrentStreams: streamsMax},
	}
	fmt.Println("ready", listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(serving.Serve(listener))
}
