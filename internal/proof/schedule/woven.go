package schedule

// Woven says whether the runtime calls the hooks. Package weave sets it in the overlay
// that puts them in.
const Woven = false
