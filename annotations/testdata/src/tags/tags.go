// Package tags declares tags for others.
//
//cache:tag Author(id int64) external
//cache:tag unused // want `tag unused is not used \[unused-tag\]`
package tags
