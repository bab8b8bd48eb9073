# make check is all of CI. Every other target is a part of it, but for bench, fuzz and
# soak. Everything it needs besides Go and make it installs itself.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
PLATFORMS = darwin/arm64 windows/amd64 freebsd/amd64 android/arm64 js/wasm
MODULES = . otel interop bench
FUZZTIME = 20s

.PHONY: check deps fmt vet staticcheck tidy test cross interop quickstart bench fuzz soak

check: deps fmt vet staticcheck tidy cross test quickstart interop
	@echo "ok: make check"

# The race detector needs a C compiler; interop lets the others go through
# proxies; zsh and fish are for the command's completion. Installing OpenSSH's
# server starts it, where services start by themselves. Chromium is Chrome on some
# machines. PostgreSQL's programs are not on the path.
PROGRAMS = gcc:gcc gcc:libc6-dev curl:curl ssh:openssh-client sshd:openssh-server nc.openbsd:netcat-openbsd \
	proxychains4:proxychains4 socksify:dante-client inetutils-ftp:inetutils-ftp drill:ldnsutils \
	miniupnpd:miniupnpd-nftables nft:nftables ip:iproute2 zsh:zsh fish:fish ping:iputils-ping iperf3:iperf3 tshark:tshark
deps:
	@PATH=$$PATH:/usr/sbin; missing=$$( \
		for p in $(PROGRAMS); do command -v $${p%:*} >/dev/null || echo $${p#*:}; done; \
		/usr/bin/python3 -c 'import socks' 2>/dev/null || echo python3-socks; \
		ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || echo postgresql; \
		{ command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null || echo chromium); \
	test -z "$$missing" || { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends $$missing >/dev/null; }

fmt:
	@test -z "$$(gofmt -l . | tee /dev/stderr)"

vet:
	for m in $(MODULES); do (cd $$m && go vet ./...) || exit 1; done
	GOOS=js GOARCH=wasm go vet ./browser/...

# interop compares raw bytes of keys, which tailscale.com has deprecated (SA1019).
staticcheck:
	go run $(STATICCHECK) ./...
	cd otel && go run $(STATICCHECK) ./...
	cd interop && go run $(STATICCHECK) -checks inherit,-SA1019 ./...
	cd bench && go run $(STATICCHECK) ./...

tidy:
	for m in $(MODULES); do (cd $$m && go mod tidy -diff) || exit 1; done

# With the race detector pools lose what they hold, and nothing can be counted.
test:
	go test -race ./...
	go test -run Allocate ./derp ./internal/netstack
	cd otel && go test -race ./...
	cd bench && go test ./...

cross:
	for p in $(PLATFORMS); do echo $$p; GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 go build . ./key ./derp/... ./coord/... ./internal/... ./browser/... || exit 1; done

quickstart:
	go run ./examples/quickstart

# The same protocols spoken by Tailscale's own software, and by Headscale, which
# is built for it. Without package arguments go test shows what tests print: the
# table of the matrix.
interop:
	cd interop && go test -count=1 -timeout 15m

# Side by side with others, as root: bench/README.md. BENCH=-h lists what can be
# chosen.
bench:
	cd bench && go run . $(BENCH)

# Every fuzz test for a while; go test alone runs their seeds.
fuzz:
	@grep -rl --include=*_test.go '^func Fuzz' . | xargs -n1 dirname | sort -u | grep -v '^./interop' | while read -r dir; do \
		for f in $$(grep -h '^func Fuzz' $$dir/*_test.go | sed 's/func \(Fuzz[A-Za-z0-9_]*\).*/\1/'); do \
			echo "$$dir $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
		done; done

soak: FUZZTIME = 2m
soak: fuzz
	go test -race -count=20 ./...
	go test -count=1 -timeout 60m -v -run 'TestSoak$$' ./internal/magicsock -soak 12h
	go test -count=1 -timeout 30m -v -run ConnectionsSurvive . -soak 10m
	cd interop && go test -count=1 -timeout 60m -run NATLaboratory -rounds 20 -parallel 1
