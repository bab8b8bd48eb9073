package interop

import (
	"regexp"
	"strings"
)

// suspicious are the words of a log that tells of an error.
var suspicious = regexp.MustCompile(`(?i)\b(errors?|err|fail(s|ed|ure)?|fatal|panic(ked)?|warnings?|unexpected|unknown|unhandled|unsupported|invalid|` +
	`bad|malformed|corrupt|mismatch|cannot|can't|could not|couldn't|unable|refused|denied|rejected|forbidden|unauthorized|` +
	`timeout|timed out|deadline|unreachable|missing|lost|not found|status [45]\d\d)\b`)

// harmless are the lines of Tailscale's software with such words that are no
// sign of anything wrong with what it talks to. Each says why.
var harmless = []struct{ expression, why string }{
	{`^TPM: error opening: `, "this machine has none"},
	{`^Program starting: `, "names its version, which go build does not tell it"},
	{`profile data directory: profile not found`, "before it is a member of anything"},
	{`dns: \[rc=unknown ret=direct\]`, "how the host resolves names, of which nothing is changed"},
	{`tstun: error initializing tun dev stats polling`, "there is no network device, by --tun=userspace-networking"},
	{`health\(warnable=(wantrunning-false|warming-up)\): error: `, "tells that it is stopped, or starts"},
	{`health\(warnable=login-state\): error: .* context canceled$`, "an interactive login takes the place of one that has just begun"},
	{`health\(warnable=\S+\): ok$`, "tells that all is well again"},
	{`RegisterReq: (onode=|got response; nodeKeyExpired=)`, "names fields of the request"},
	{`EditPrefs: MaskedPrefs\{`, "an invalid address is none"},
	{`magicsock: last netcheck reported send error\. Rebinding\.`, "on a host without latency answers come before their netcheck has noted that it has sent"},
	{`tlsdial: warning: server cert for .* passed x509 validation but is self-signed`, "the test's certificate is"},
	{`ipnext: work queue shutdown failed: execqueue shut down`, "at its end"},
}

var allHarmless = func() *regexp.Regexp {
	var all []string
	for _, h := range harmless {
		all = append(all, h.expression)
	}
	return regexp.MustCompile(strings.Join(all, "|"))
}()

// dated is how the log package begins a line.
var dated = regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d `)

// errorLines returns the lines of a real client's log that tell of an error.
func errorLines(log string) (lines []string) {
	for line := range strings.Lines(log) {
		text := dated.ReplaceAllString(strings.TrimSpace(line), "")
		if suspicious.MatchString(text) && !allHarmless.MatchString(text) {
			lines = append(lines, text)
		}
	}
	return lines
}
