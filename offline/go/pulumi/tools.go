//go:build tools

// Package tools pins the pulumi CLI: its own main package is what gets built.
// `go install PATH@VERSION` refuses a module with replace directives, hence this module of our own.
package tools

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
