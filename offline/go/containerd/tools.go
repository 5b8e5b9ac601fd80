//go:build tools

// Package tools pins containerd, which runs the pods of a Kubernetes node: its daemon, its shim and its command line.
package tools

import (
	_ "github.com/containerd/containerd/v2/cmd/containerd"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
	_ "github.com/containerd/containerd/v2/cmd/ctr"
)
