//go:build tools

// Package tools pins etcd, in which an API server of Kubernetes keeps its objects.
package tools

import _ "go.etcd.io/etcd/server/v3"
