// pulumi-resource-kubernetes serves Pulumi's Kubernetes provider as its own main does, which can't be built from the
// module: it embeds files that are generated beside it.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
)

// version is set by the linker.
var version = "4.34.2"

// schema is the module's own; the build puts it here (embeds in offline/kubernetes.ts).
//
//go:embed schema.json
var schema []byte

func main() {
	provider.Serve("kubernetes", version, schema, []byte("{}"))
}
