package plain

// Ordinary has nothing to do with cachegen.
type Ordinary interface{ Get() }
