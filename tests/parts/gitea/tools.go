//go:build tools

// Package tools pins Gitea, a Git host with pull requests, protected branches and commit statuses.
package tools

import (
	_ "code.gitea.io/gitea"
)
