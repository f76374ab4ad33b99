//go:build !race

package across

const underRace = false
