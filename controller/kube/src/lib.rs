//! The Kubernetes side: where resources live in a cluster.
