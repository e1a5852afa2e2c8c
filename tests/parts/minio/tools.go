//go:build tools

// Package tools pins MinIO, an S3 server with conditional writes.
package tools

import (
	_ "github.com/minio/minio"
)
