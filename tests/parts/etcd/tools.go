//go:build tools

// Package tools pins etcd, the database of the API server.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
)
