package httpproxy

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What the target is sent, to the byte, for what the client sends.
func TestForwardedHeads(t *testing.T) {
	for name, test := range map[string]struct{ in, out []string }{
		"nothing is added": {
			[]string{"GET http://web/ HTTP/1.1", "Host: web"},
			[]string{"GET / HTTP/1.1", "Host: web"},
		},
		"the URL decides about the host": {
			[]string{"GET http://web:80/x HTTP/1.1", "Host: other"},
			[]string{"GET /x HTTP/1.1", "Host: web:80"},
		},
		"user and password of a URL stay behind": {
			[]string{"GET HTTP://me:secret@web/x HTTP/1.1", "Host: web"},
			[]string{"GET /x HTTP/1.1", "Host: web"},
		},
		"what is for one hop stays behind": {
			[]string{"GET http://web/ HTTP/1.1", "Host: web", "Proxy-Authorization: Basic bWU6c2VjcmV0", "Connection: close, X-Hop",
				"X-Hop: 1", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "Te: gzip"},
			[]string{"GET / HTTP/1.1", "Host: web"},
		},
		"headers are the client's": {
			[]string{"GET http://web/ HTTP/1.1", "Host: web", "Accept-Encoding: br", "Forwarded: for=a", "Forwarded: for=b", "User-Agent: me",
				"Via: 1.0 fred", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-Host: h", "X-Forwarded-Proto: p"},
			[]string{"GET / HTTP/1.1", "Host: web", "User-Agent: me", "Accept-Encoding: br", "Forwarded: for=a", "Forwarded: for=b",
				"Via: 1.0 fred", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-Host: h", "X-Forwarded-Proto: p"},
		},
		"path and query stay as they are": {
			[]string{"GET http://web/a|b/%7e/../%2F;c?x=1;y=%zz&|&? HTTP/1.1", "Host: web"},
			[]string{"GET /a|b/%7e/../%2F;c?x=1;y=%zz&|&? HTTP/1.1", "Host: web"},
		},
		"a path with two slashes": {
			[]string{"GET http://web//other/x?y HTTP/1.1", "Host: web"},
			[]string{"GET //other/x?y HTTP/1.1", "Host: web"},
		},
		"no path": {
			[]string{"GET http://web HTTP/1.1", "Host: web"},
			[]string{"GET / HTTP/1.1", "Host: web"},
		},
		"no path, but a query": {
			[]string{"GET http://web?a=b HTTP/1.1", "Host: web"},
			[]string{"GET /?a=b HTTP/1.1", "Host: web"},
		},
		"OPTIONS without a path": {
			[]string{"OPTIONS http://web HTTP/1.1", "Host: web"},
			[]string{"OPTIONS * HTTP/1.1", "Host: web"},
		},
		"any method": {
			[]string{"PROPFIND http://web/dav HTTP/1.1", "Host: web", "Depth: 1"},
			[]string{"PROPFIND /dav HTTP/1.1", "Host: web", "Depth: 1"},
		},
		"a body with two lengths goes out with the one that counts": {
			[]string{"POST http://web/ HTTP/1.1", "Host: web", "Content-Length: 3", "Transfer-Encoding: chunked"},
			[]string{"POST / HTTP/1.1", "Host: web", "Transfer-Encoding: chunked"},
		},
		"HTTP/1.0": {
			[]string{"GET http://web/ HTTP/1.0"},
			[]string{"GET / HTTP/1.1", "Host: web"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, &Server{})
				p.listen(t, "web:80")
				client := p.connect(t)
				client.say(append(test.in, "")...)
				target := p.accept(t, "web:80")
				target.wantHead("the target gets this", test.out...)
			})
		})
	}
}

// What the client gets, to the byte, for what the target answers.
func TestAnswersPassUnchanged(t *testing.T) {
	const date = "Date: Sat, 01 Jan 2000 00:00:00 GMT"
	for name, test := range map[string]struct{ in, out []string }{
		"no Content-Type is guessed": {
			[]string{"HTTP/1.1 200 OK", date, "Content-Length: 8", "", "<html>"},
			[]string{"HTTP/1.1 200 OK", "Content-Length: 8", date, "", "<html>"},
		},
		"compressed": {
			[]string{"HTTP/1.1 200 OK", date, "Content-Encoding: gzip", "Content-Length: 6", "", "\x1f\x8b??"},
			[]string{"HTTP/1.1 200 OK", "Content-Encoding: gzip", "Content-Length: 6", date, "", "\x1f\x8b??"},
		},
		"what is for one hop stays behind": {
			[]string{"HTTP/1.1 404 Not Found", date, "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: timeout=1", "Proxy-Authenticate: Basic", "Content-Length: 0", ""},
			[]string{"HTTP/1.1 404 Not Found", "Content-Length: 0", date, ""},
		},
		"informational answers": {
			[]string{"HTTP/1.1 103 Early Hints", "Link: </a.css>", "", "HTTP/1.1 204 No Content", date, ""},
			[]string{"HTTP/1.1 103 Early Hints", "Link: </a.css>", "", "HTTP/1.1 204 No Content", date, ""},
		},
		"trailers": {
			[]string{"HTTP/1.1 200 OK", date, "Transfer-Encoding: chunked", "Trailer: X-Sum", "", "2", "ab", "0", "X-Sum: 7", ""},
			[]string{"HTTP/1.1 200 OK", date, "Trailer: X-Sum", "Transfer-Encoding: chunked", "", "2", "ab", "0", "X-Sum: 7", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, &Server{})
				p.listen(t, "web:80")
				client := p.connect(t)
				client.say("GET http://web/ HTTP/1.1", "Host: web", "")
				target := p.accept(t, "web:80")
				target.wantHead("the target is asked", "GET / HTTP/1.1", "Host: web")
				go target.say(test.in...)
				// The head is written in the order of the alphabet.
				client.want("the client gets this", strings.Join(test.out, "\r\n"))
			})
		})
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing":        "",
		"garbage":        "SSH-2.0-OpenSSH\r\n",
		"no such status": "HTTP/1.1 099 Odd\r\n\r\n",
		"half a head":    "HTTP/1.1 200 OK\r\nContent-",
		"an endless one": "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: "+strings.Repeat("a", 1000)+"\r\n", 1000),
		"not asked for":  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, &Server{})
				p.listen(t, "web:80")
				client := p.connect(t)
				client.say("GET http://web/ HTTP/1.1", "Host: web", "")
				target := p.accept(t, "web:80")
				target.wantHead("the target is asked", "GET / HTTP/1.1", "Host: web")
				go func() {
					io.WriteString(target, answer)
					target.closeWrite()
				}()
				_, body := client.wantAnswer("that is the target's fault", "GET", http.StatusBadGateway)
				if body != "cannot reach web:80: it gave no proper answer\n" {
					t.Errorf("the sentence is %q", body)
				}
				io.Copy(io.Discard, target.r) // the connection is not kept
			})
		})
	}
}

func TestAnswersThatBreakOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &Server{})
		p.listen(t, "web:80")
		client := p.connect(t)
		client.say("GET http://web/ HTTP/1.1", "Host: web", "")
		target := p.accept(t, "web:80")
		target.wantHead("the target is asked", "GET / HTTP/1.1", "Host: web")
		go func() {
			target.say("HTTP/1.1 200 OK", "Content-Length: 100", "", "only this")
			target.Close()
		}()
		res, err := http.ReadResponse(client.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); err != io.ErrUnexpectedEOF {
			t.Errorf("the client takes %q for the whole, with %v", body, err)
		}
	})
}

func TestSchemesThatAreNotForwarded(t *testing.T) {
	for _, target := range []string{"https://web/", "ftp://web/", "ws://web/", "web:80", "http:web", "http:///x", "http://web:0/", "http://web:99999/"} {
		synctest.Test(t, func(t *testing.T) {
			client := start(t, &Server{}).connect(t)
			client.say("GET "+target+" HTTP/1.1", "Host: web", "")
			client.wantAnswer(target+" is refused", "GET", http.StatusBadRequest)
		})
	}
}

func TestAnswersAreStreamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &Server{})
		next := make(chan string)
		p.web(t, "web:80", func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			for part := range next {
				io.WriteString(w, part)
				w.(http.Flusher).Flush()
			}
		})
		res, err := p.client(t).Get("http://web/")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		r := bufio.NewReader(res.Body)
		for _, part := range []string{"a\n", "b\n"} {
			next <- part
			if got, err := r.ReadString('\n'); got != part {
				t.Errorf("got %q and %v before the end, want %q", got, err, part)
			}
		}
		close(next)
		if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
			t.Errorf("at the end came %q and %v", rest, err)
		}
	})
}

// A target may answer while it is still being asked.
func TestConversationInOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &Server{})
		p.listen(t, "web:80")
		client := p.connect(t)
		client.say("POST http://web/ HTTP/1.1", "Host: web", "Transfer-Encoding: chunked", "", "1", "a")
		target := p.accept(t, "web:80")
		target.wantHead("the target is asked", "POST / HTTP/1.1", "Host: web", "Transfer-Encoding: chunked")
		target.want("the body begins", "1\r\na\r\n")
		go target.say("HTTP/1.1 200 OK", "Date: x", "Transfer-Encoding: chunked", "", "1", "b")
		client.wantHead("the answer begins before the body ends", "HTTP/1.1 200 OK", "Connection: close", "Date: x", "Transfer-Encoding: chunked")
		client.want("with its body", "1\r\nb\r\n")
		client.say("1", "c")
		target.want("the request goes on", "1\r\nc\r\n")
		go target.say("1", "d")
		client.want("so does the answer", "1\r\nd\r\n")
		client.say("0", "")
		target.want("the request ends", "0\r\n\r\n")
		go target.say("0", "")
		client.want("so does the answer", "0\r\n\r\n")
		client.wantEnd("and with it the connection")
	})
}

// A client that waits for the end of the answer before it goes on with its
// request gets it.
func TestAnswerEndsBeforeTheBody(t *testing.T) {
	for name, expect := range map[string][]string{"without Expect": nil, "with Expect": {"Expect: 100-continue"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, &Server{})
				p.listen(t, "web:80")
				client := p.connect(t)
				client.say(append([]string{"POST http://web/ HTTP/1.1", "Host: web", "Content-Length: 1000"}, append(expect, "")...)...)
				target := p.accept(t, "web:80")
				if _, err := http.ReadRequest(target.r); err != nil {
					t.Fatal(err)
				}
				go target.say("HTTP/1.1 413 Request Entity Too Large", "Transfer-Encoding: chunked", "", "9", "too large", "0", "")
				begin := time.Now()
				if _, body := client.wantAnswer("the target refuses", "POST", http.StatusRequestEntityTooLarge); body != "too large" {
					t.Errorf("got %q", body)
				}
				if time.Since(begin) > 100*time.Millisecond { // the Transport waits a little for its end of the request
					t.Error("the answer waited for the body")
				}
				io.WriteString(client, "some")
				client.wantEnd("the connection ends")
				if took := time.Since(begin).Round(time.Second); took != 10*time.Second {
					t.Errorf("it ended after %v", took)
				}
			})
		})
	}
}

// A client that leaves is not answered, and not thought to have been.
func TestClientThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &Server{})
		p.listen(t, "web:80")
		client := p.connect(t)
		client.say("GET http://web/ HTTP/1.1", "Host: web", "")
		target := p.accept(t, "web:80")
		target.wantHead("the target is asked", "GET / HTTP/1.1", "Host: web")
		client.closeWrite()
		target.wantEnd("the target is told")
		client.wantEnd("no answer is made up")
		synctest.Wait()
		if logs := p.logs.String(); !strings.Contains(logs, "status=0") || !strings.Contains(logs, "canceled") {
			t.Errorf("the log is\n%s", logs)
		}
	})
}

// The target answers and leaves most of the body. Neither the client nor the
// proxy (https://go.dev/issue/68560) must suffer.
func TestAnswerBeforeTheBody(t *testing.T) {
	for name, size := range map[string]int{"short": 1000, "long": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, &Server{})
				p.web(t, "web:80", func(w http.ResponseWriter, r *http.Request) {
					http.Error(w, "no", http.StatusForbidden)
				})
				client := p.client(t)
				for range 3 {
					// The refusal of a connection leaves the body too.
					for url, status := range map[string]int{"http://web/": http.StatusForbidden, "http://nobody/": http.StatusBadGateway} {
						res, err := client.Post(url, "text/plain", strings.NewReader(strings.Repeat("x", size)))
						if err != nil {
							continue // the client was still sending when the connection closed, as RFC 9112 section 9.6 warns
						}
						res.Body.Close()
						if res.StatusCode != status {
							t.Errorf("%s: %v", url, res.Status)
						}
					}
				}
				synctest.Wait()
				if strings.Contains(p.logs.String(), "panic") {
					t.Errorf("net/http is not happy:\n%s", p.logs)
				}
			})
		})
	}
}

// A client that does not finish its request after the answer keeps nothing for
// long.
func TestBodyThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &Server{HandshakeTimeout: 5 * time.Second})
		client := p.connect(t)
		client.say("POST http://nobody/ HTTP/1.1", "Host: nobody", "Content-Length: 100", "", "a")
		begin := time.Now()
		client.wantAnswer("the client is answered", "POST", http.StatusBadGateway)
		if time.Since(begin) > 0 {
			t.Error("the answer waited for the body")
		}
		client.wantEnd("the connection ends")
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("it ended after %v", took)
		}
	})
}

func TestExpectContinue(t *testing.T) {
	ask := []string{"PUT http://web/ HTTP/1.1", "Host: web", "Content-Length: 4", "Expect: 100-continue", ""}
	asked := []string{"PUT / HTTP/1.1", "Host: web", "Connection: close", "Content-Length: 4", "Expect: 100-continue"}
	for name, play := range map[string]func(client, target *peer){
		"wanted": func(client, target *peer) {
			go target.say("HTTP/1.1 100 Continue", "")
			client.wantHead("the target wants the body", "HTTP/1.1 100 Continue")
			go io.WriteString(client, "body")
			target.want("it gets it", "body")
			go target.say("HTTP/1.1 200 OK", "Content-Length: 0", "")
			client.wantAnswer("and answers", "PUT", http.StatusOK)
		},
		"not wanted": func(client, target *peer) {
			go target.say("HTTP/1.1 417 Expectation Failed", "Content-Length: 0", "")
			client.wantAnswer("the target does not want the body", "PUT", http.StatusExpectationFailed)
			client.wantEnd("the connection ends, because nobody knows whether it comes")
		},
		"not understood": func(client, target *peer) {
			client.wantHead("the proxy asks for the body at last", "HTTP/1.1 100 Continue")
			go io.WriteString(client, "body")
			target.want("the target gets it", "body")
			go target.say("HTTP/1.1 200 OK", "Content-Length: 0", "")
			client.wantAnswer("and answers", "PUT", http.StatusOK)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, &Server{})
				p.listen(t, "web:80")
				client := p.connect(t)
				client.say(ask...)
				target := p.accept(t, "web:80")
				target.wantHead("the target is asked", asked...)
				play(client, target)
			})
		})
	}
}

// What follows a body that cannot be read is not a request.
func TestBodiesThatCannotBeRead(t *testing.T) {
	const hidden = "GET http://hidden/ HTTP/1.1\r\nHost: hidden\r\n\r\n"
	for name, request := range map[string]string{
		"two lengths":         "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
		"chunks in a cipher":  "Transfer-Encoding: rot13, chunked\r\n\r\n0\r\n\r\n",
		"chunk of no length":  "Transfer-Encoding: chunked\r\n\r\nx\r\n",
		"chunk is too long":   "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
		"chunk length is odd": "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
	} {
		for _, host := range []string{"web", "nobody"} {
			t.Run(name+" for "+host, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := start(t, &Server{Allow: func(_ context.Context, r *Request) error {
						if r.Host == "hidden" {
							t.Error("the rest of the body was taken for a request")
						}
						return nil
					}})
					p.web(t, "web:80", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) })
					client := p.connect(t)
					go io.WriteString(client, "POST http://"+host+"/ HTTP/1.1\r\nHost: "+host+"\r\n"+request+hidden)
					io.Copy(io.Discard, client)
				})
			})
		}
	}
}

// A client of HTTP/1.0 gets neither chunks nor informational answers.
func TestClientOfHTTP10(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &Server{})
		p.listen(t, "web:80")
		client := p.connect(t)
		client.say("GET http://web/ HTTP/1.0", "")
		target := p.accept(t, "web:80")
		target.wantHead("the target is asked", "GET / HTTP/1.1", "Host: web")
		go target.say("HTTP/1.1 103 Early Hints", "", "HTTP/1.1 200 OK", "Date: x", "Transfer-Encoding: chunked", "", "5", "hello", "0", "")
		client.wantHead("the answer", "HTTP/1.0 200 OK", "Date: x")
		client.want("its body", "hello")
		client.wantEnd("and its end")
	})
}

// upgrade leaves HTTP as a WebSocket does.
func upgrade(t *testing.T, p *proxy) (client, target *peer) {
	t.Helper()
	p.listen(t, "web:80")
	client = p.connect(t)
	client.say("GET http://web/chat HTTP/1.1", "Host: web", "Connection: Upgrade", "Upgrade: websocket", "Sec-Websocket-Key: x", "")
	target = p.accept(t, "web:80")
	target.wantHead("the target is asked", "GET /chat HTTP/1.1", "Host: web", "Connection: Upgrade", "Sec-Websocket-Key: x", "Upgrade: websocket")
	go target.say("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", "", "first")
	client.wantHead("the target agrees", "HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket")
	client.want("what came right behind is not lost", "first\r\n")
	return client, target
}

func TestUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &Server{})
		client, target := upgrade(t, p)
		client.say("ping")
		target.want("the target hears the client", "ping\r\n")
		client.closeWrite()
		target.wantEnd("and its end")
		target.say("pong")
		client.want("the client still hears the target", "pong\r\n")
		target.Close()
		client.wantEnd("and its end")
		synctest.Wait()
		for _, want := range []string{"status=101", "sent=6", "received=13"} {
			if !strings.Contains(p.logs.String(), want) {
				t.Errorf("the log has no %q:\n%s", want, p.logs)
			}
		}
	})
}

func TestIdleUpgradeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &Server{IdleTimeout: time.Minute})
		client, target := upgrade(t, p)
		<-time.After(50 * time.Second)
		client.say("x")
		target.want("one in use lives on", "x\r\n")
		begin := time.Now()
		client.wantEnd("an idle one ends")
		target.wantEnd("on both sides")
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("it ended after %v", took)
		}
	})
}

// A client's requests share connections to the target among themselves, and
// with nobody else's.
func TestConnectionsToTargetsAreTheClientsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &Server{})
		p.listen(t, "web:80")
		get := func(client *peer) { client.say("GET http://web/ HTTP/1.1", "Host: web", "") }
		asked := func(target *peer) {
			t.Helper()
			target.wantHead("the target is asked", "GET / HTTP/1.1", "Host: web")
			go target.say("HTTP/1.1 204 No Content", "")
		}
		a, b := p.connect(t), p.connect(t)
		get(a)
		targetA := p.accept(t, "web:80")
		asked(targetA)
		a.wantAnswer("the first client's answer", "GET", http.StatusNoContent)
		get(b)
		targetB := p.accept(t, "web:80")
		asked(targetB)
		b.wantAnswer("the second client's answer", "GET", http.StatusNoContent)
		get(a)
		asked(targetA)
		a.wantAnswer("the first client's second answer", "GET", http.StatusNoContent)
		a.Close()
		targetA.wantEnd("its connection to the target ends with its own")
		get(b)
		asked(targetB)
		b.wantAnswer("the second client is still served", "GET", http.StatusNoContent)
	})
}
