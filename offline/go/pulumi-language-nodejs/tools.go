//go:build tools

// Package tools pins the Node.js language host. v3.68.0 is the last sdk release that holds it; later
// ones moved it to a module that the Go proxy does not serve. It works under the pinned CLI.
package tools

import _ "github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs"
