package lab

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Routed connects the hosts by TUN devices, of which the other ends are the
// files: those of client, server and control. They belong to whoever runs the
// router.
func Routed(mtu int) (_ *Lab, devices []*os.File, err error) {
	l, err := newLab(mtu)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			l.Close()
			CloseAll(devices)
		}
	}()
	for _, addr := range Hosts() {
		host := l.hosts()[addr]
		device, err := host.tun(mtu)
		if err != nil {
			return nil, devices, err
		}
		devices = append(devices, device)
		if err := host.address(addr); err != nil {
			return nil, devices, err
		}
	}
	return l, devices, nil
}

// tun makes a TUN device, as the host's link.
func (ns *Namespace) tun(mtu int) (device *os.File, err error) {
	err = ns.run(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("opening /dev/net/tun: %w", err)
		}
		request, err := unix.NewIfreq("eth0")
		if err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("making a TUN device: %w", err), unix.Close(fd))
		}
		device = os.NewFile(uintptr(fd), "tun")
		return nil
	})
	if err != nil {
		return nil, err
	}
	// What a host sends at once must not be lost before the router has seen it:
	// whether it is too much is for the router to say.
	return device, ns.ip(fmt.Sprintf("link set eth0 mtu %d txqueuelen 20000", mtu))
}

// CloseAll closes files.
func CloseAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// Hub is where the router runs, so that what it costs is not the hosts'.
func (l *Lab) Hub() *Namespace { return l.hub }
