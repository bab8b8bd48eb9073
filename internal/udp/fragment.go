package udp

// setEither is the outcome of setting an option for IPv4 and for IPv6: a
// socket of one family refuses that of the other.
func setEither(err4, err6 error) error {
	if err6 == nil {
		return nil
	}
	return err4
}
