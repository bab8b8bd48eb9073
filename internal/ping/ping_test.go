package ping

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/meshnet-go/meshnet/internal/tsmp"
)

var (
	us4, them4 = netip.MustParseAddr("100.64.0.1"), netip.MustParseAddr("100.64.0.2")
	us6, them6 = netip.MustParseAddr("fd7a:115c:a1e0::1"), netip.MustParseAddr("fd7a:115c:a1e0::2")
)

// inner is a device that keeps what is written to it.
type inner struct {
	tun.Device // nil
	written    [][]byte
	err        error
}

func (i *inner) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		i.written = append(i.written, slices.Clone(b[offset:]))
	}
	return len(bufs), i.err
}

func (i *inner) Close() error { return nil }

// reply is what a peer answers to a request.
func reply(t testing.TB, packet []byte) []byte {
	t.Helper()
	if tsmp.Is(packet) {
		p, err := tsmp.Parse(packet)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := p.Reply(tsmp.Pong{Data: p.Message.(tsmp.Ping).Data}).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	b := slices.Clone(packet)
	if b[0]>>4 == 4 {
		copy(b[12:], packet[16:20])
		copy(b[16:], packet[12:16])
		b[header4Size] = reply4
		return b
	}
	copy(b[8:], packet[24:40])
	copy(b[24:], packet[8:24])
	b[header6Size] = reply6
	return b
}

func TestAsk(t *testing.T) {
	for _, test := range []struct {
		name     string
		kind     Kind
		src, dst netip.Addr
	}{
		{"TSMP over IPv4", TSMP, us4, them4},
		{"TSMP over IPv6", TSMP, us6, them6},
		{"ICMP over IPv4", ICMP, us4, them4},
		{"ICMP over IPv6", ICMP, us6, them6},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, sent := new(inner), make(chan []byte, 1)
				d := New(in, func(p []byte) { sent <- p })
				other := []byte("another packet")
				go func() {
					answer := reply(t, <-sent)
					time.Sleep(30 * time.Millisecond)
					bufs := [][]byte{append([]byte("##"), other...), append([]byte("##"), answer...), append([]byte("##"), answer...)}
					if n, err := d.Write(bufs, 2); n != 3 || err != nil {
						t.Errorf("%d of 3 packets are written, %v", n, err)
					}
				}()
				took, err := d.Ask(t.Context(), test.kind, test.src, test.dst)
				if err != nil || took != 30*time.Millisecond {
					t.Errorf("the answer takes %v, %v", took, err)
				}
				synctest.Wait()
				if len(in.written) != 3 || !bytes.Equal(in.written[0], other) {
					t.Errorf("the inner device gets %x", in.written) // answers, too
				}
			})
		})
	}
}

func TestWhatIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, sent := new(inner), make(chan []byte, 1)
		d := New(in, func(p []byte) { sent <- p })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			request := <-sent
			answer := reply(t, request)
			short, stranger, forged := answer[:len(answer)-1], slices.Clone(answer), slices.Clone(answer)
			stranger[15]++ // the source
			forged[len(forged)-1]++
			fragment := slices.Clone(answer)
			fragment[6] = 0x20
			tsmpAnswer, _ := tsmp.Packet{Src: them4, Dst: us4, Message: tsmp.Pong{Data: token(answer[header4Size+icmpSize:])}}.Append(nil)
			for _, packet := range [][]byte{request, short, stranger, forged, fragment, tsmpAnswer, nil} {
				if _, err := d.Write([][]byte{packet}, 0); err != nil {
					t.Error(err)
				}
			}
			if len(in.written) != 7 {
				t.Errorf("%d packets of 7 are passed on", len(in.written))
			}
		}()
		if took, err := d.Ask(ctx, ICMP, us4, them4); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("answered after %v, %v", took, err)
		}
		if len(d.asked) != 0 || d.asking.Load() != 0 {
			t.Error("the question is still asked")
		}
	})
}

func TestAskEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(new(inner), func([]byte) {})
		done := make(chan error)
		go func() {
			_, err := d.Ask(t.Context(), TSMP, us4, them4)
			done <- err
		}()
		synctest.Wait()
		d.Close()
		d.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("asking a closed device: %v", err)
		}
		for _, kind := range []Kind{TSMP, ICMP, 7} {
			if _, err := d.Ask(t.Context(), kind, us4, them6); err == nil {
				t.Error("the addresses are of two IP versions")
			}
		}
	})
}

func TestErrorsOfTheInnerDevice(t *testing.T) {
	in := &inner{err: errors.New("full")}
	d := New(in, func([]byte) {})
	d.add(token{}, question{})
	if _, err := d.Write([][]byte{[]byte("packet")}, 0); !errors.Is(err, in.err) {
		t.Errorf("Write: %v", err)
	}
}

// TestRequests has bytes that another program computed.
func TestRequests(t *testing.T) {
	for _, test := range []struct {
		src, dst netip.Addr
		want     string
	}{
		{us4, them4, "45000024000000004001b256" + "64400001" + "64400002" + "0800e6e901020000" + "0102030405060708"},
		{us6, them6, "6000000000103a40" + "fd7a115ca1e000000000000000000001" + "fd7a115ca1e000000000000000000002" + "80000d2d01020000" + "0102030405060708"},
	} {
		got, err := icmpRequest(test.src, test.dst, token{1, 2, 3, 4, 5, 6, 7, 8})
		if err != nil || hex.EncodeToString(got) != test.want {
			t.Errorf("%v: %x, %v; want %s", test.dst, got, err, test.want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, addrs := range [][2]netip.Addr{{us4, them4}, {us6, them6}} {
		packet, _ := icmpRequest(addrs[0], addrs[1], token{1})
		f.Add(reply(f, packet))
		packet, _ = request(TSMP, addrs[0], addrs[1], token{1})
		f.Add(reply(f, packet))
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		if _, src, _, ok := answer(packet); ok && !src.IsValid() {
			t.Error("an answer from nowhere")
		}
	})
}
