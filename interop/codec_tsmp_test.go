package interop

import (
	"net/netip"
	"testing"

	"tailscale.com/net/packet"
	"tailscale.com/types/ipproto"
	tskey "tailscale.com/types/key"

	"github.com/meshnet-go/meshnet/internal/tsmp"
)

var (
	tsmpAddrs = [][2]netip.Addr{
		{netip.MustParseAddr("100.64.0.1"), netip.MustParseAddr("100.64.0.2")},
		{netip.MustParseAddr("fd7a:115c:a1e0::1"), netip.MustParseAddr("fd7a:115c:a1e0::2")},
	}
	tsmpData = [8]byte{1, 2, 3, 4, 5, 6, 7, 8}
)

func TestCodecTSMPTheyReadOurs(t *testing.T) {
	for _, addrs := range tsmpAddrs {
		parsed := theirsOf(t, addrs, tsmp.Ping{Data: tsmpData})
		ping, ok := parsed.AsTSMPPing()
		equal(t, "it is a ping", ok, true)
		equal(t, "its data", ping.Data, tsmpData)

		parsed = theirsOf(t, addrs, tsmp.Pong{Data: tsmpData, PeerAPIPort: 513})
		pong, ok := parsed.AsTSMPPong()
		equal(t, "it is a pong", ok, true)
		equal(t, "its data", pong.Data, tsmpData)
		equal(t, "its port", pong.PeerAPIPort, uint16(513))

		parsed = theirsOf(t, addrs, tsmp.Reject{Proto: 6, Reason: tsmp.ReasonACL, SrcPort: 1024, DstPort: 80, MaybeBroken: true})
		reject, ok := parsed.AsTailscaleRejectedHeader()
		equal(t, "it is a reject", ok, true)
		equal(t, "the reject", reject, theirReject(addrs, true))

		disco := tskey.NewDisco().Public()
		parsed = theirsOf(t, addrs, tsmp.DiscoAdvert{Key: disco.Raw32()})
		advert, ok := parsed.AsTSMPDiscoAdvertisement()
		equal(t, "it is a disco advert", ok, true)
		equal(t, "its key", advert.Key, disco)
	}
}

func TestCodecTSMPWeReadTheirs(t *testing.T) {
	for _, addrs := range tsmpAddrs {
		header := theirHeader(addrs)
		pong := packet.TSMPPongReply{IPHeader: header, Data: tsmpData, PeerAPIPort: 513}
		buf := make([]byte, pong.Len())
		check(t, "they write a pong", pong.Marshal(buf))
		oursOf(t, addrs, buf, tsmp.Pong{Data: tsmpData, PeerAPIPort: 513})

		oursOf(t, addrs, packet.Generate(header, append([]byte{'p'}, tsmpData[:]...)), tsmp.Ping{Data: tsmpData})

		for _, maybe := range []bool{false, true} {
			reject := theirReject(addrs, maybe)
			buf = make([]byte, reject.Len())
			check(t, "they write a reject", reject.Marshal(buf))
			oursOf(t, addrs, buf, tsmp.Reject{Proto: 6, Reason: tsmp.ReasonACL, SrcPort: 1024, DstPort: 80, MaybeBroken: maybe})
		}

		disco := tskey.NewDisco().Public()
		buf, err := (&packet.TSMPDiscoKeyAdvertisement{Src: addrs[0], Dst: addrs[1], Key: disco}).Marshal()
		check(t, "they write a disco advert", err)
		oursOf(t, addrs, buf, tsmp.DiscoAdvert{Key: disco.Raw32()})
	}
}

// theirsOf has them parse the packet that carries our message.
func theirsOf(t *testing.T, addrs [2]netip.Addr, m tsmp.Message) *packet.Parsed {
	t.Helper()
	buf, err := tsmp.Packet{Src: addrs[0], Dst: addrs[1], Message: m}.Append(nil)
	check(t, "we write a packet", err)
	var parsed packet.Parsed
	parsed.Decode(buf)
	equal(t, "the protocol", parsed.IPProto, ipproto.TSMP)
	equal(t, "the source", parsed.Src.Addr(), addrs[0])
	equal(t, "the destination", parsed.Dst.Addr(), addrs[1])
	return &parsed
}

// oursOf checks that we read their packet as the message want.
func oursOf(t *testing.T, addrs [2]netip.Addr, buf []byte, want tsmp.Message) {
	t.Helper()
	got, err := tsmp.Parse(buf)
	check(t, "we read their packet", err)
	equal(t, "their packet", got, tsmp.Packet{Src: addrs[0], Dst: addrs[1], Message: want})
}

func theirHeader(addrs [2]netip.Addr) packet.Header {
	if addrs[0].Is4() {
		return packet.IP4Header{IPProto: ipproto.TSMP, Src: addrs[0], Dst: addrs[1]}
	}
	return packet.IP6Header{IPProto: ipproto.TSMP, Src: addrs[0], Dst: addrs[1]}
}

// theirReject travels against the flow that it refuses.
func theirReject(addrs [2]netip.Addr, maybeBroken bool) packet.TailscaleRejectedHeader {
	return packet.TailscaleRejectedHeader{
		IPSrc:       addrs[0],
		IPDst:       addrs[1],
		Src:         netip.AddrPortFrom(addrs[1], 1024),
		Dst:         netip.AddrPortFrom(addrs[0], 80),
		Proto:       ipproto.TCP,
		Reason:      packet.RejectedDueToACLs,
		MaybeBroken: maybeBroken,
	}
}
