package annotations

// checkWrite checks the policy of a write.
func (c *checker) checkWrite(m *method) {
	write := m.model.Write
	if len(m.dirs.all["invalidates"]) == 0 && len(m.dirs.unclear) == 0 {
		c.report(noInvalidates(m.dirs.role.Pos, m.fn.Name()))
	}
	write.Invalidates = c.targets(m, m.dirs.all["invalidates"], useCall)
	if reload := m.dirs.one("reload"); reload != nil {
		write.Reload = c.targets(m, []*parsed{reload}, useCall)
	}
}
