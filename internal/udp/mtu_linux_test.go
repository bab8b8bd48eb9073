package udp

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// listenBelowMTU returns two sockets on a loopback of their own that has
// Ethernet's MTU.
func listenBelowMTU(t *testing.T) (a, b net.PacketConn) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err = syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			return
		}
		if err = exec.Command("ip", "link", "set", "lo", "mtu", "1500", "up").Run(); err != nil {
			return
		}
		if a, err = net.ListenPacket("udp4", "127.0.0.1:0"); err == nil {
			b, err = net.ListenPacket("udp4", "127.0.0.1:0")
		}
	}()
	<-done
	if err != nil {
		t.Skipf("no network namespace here: %v", err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestPacketsAboveTheMTU(t *testing.T) {
	packets := packetsOf(3000, 3000, 3000, 200, 200, 200)

	t.Run("in fragments", func(t *testing.T) {
		pa, pb := listenBelowMTU(t)
		a, b := New(pa), New(pb)
		joinable := &a.path.(*batched).joinable
		if joinable.Load() == 0 {
			t.Skip("this kernel has no UDP_SEGMENT")
		}
		if err := a.WriteBatch(packets, b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		wantPackets(t, b, 128, a.LocalAddr(), packets)
		if got := joinable.Load(); got != 2999 {
			t.Errorf("packets of up to %d bytes are joined, want less than those that need fragments", got)
		}
	})

	t.Run("whole", func(t *testing.T) {
		pa, pb := listenBelowMTU(t)
		a, b := New(pa), New(pb)
		if err := a.WriteWhole(packets[0], b.LocalAddr()); !TooLarge(err) {
			t.Fatalf("WriteWhole: %v, want that the packet is too large", err)
		}
		if err := a.WriteWhole(packets[3], b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		wantPackets(t, b, 128, a.LocalAddr(), packets[3:4])
		if err := a.WriteBatch(packets[:1], b.LocalAddr()); err != nil {
			t.Fatalf("after WriteWhole packets are not cut any more: %v", err)
		}
		wantPackets(t, b, 128, a.LocalAddr(), packets[:1])
	})
}
