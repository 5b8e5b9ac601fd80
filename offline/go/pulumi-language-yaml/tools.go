//go:build tools

// Package tools pins the YAML language host, with which the tests deploy the YAML example.
package tools

import _ "github.com/pulumi/pulumi-yaml/cmd/pulumi-language-yaml"
