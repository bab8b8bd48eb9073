package meshdebug

import (
	"bytes"
	"html/template"
	"net/http"

	"github.com/meshnet-go/meshnet"
)

// The front page has links relative to itself, so that it may be anywhere.
var frontPage = template.Must(template.New("front").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>{{with .Status.Self.Name}}{{.}}{{else}}A node of a mesh{{end}}</title>
<style>
body { font: 1rem/1.5 sans-serif; margin: 2rem; }
table { border-collapse: collapse; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #ccc; }
</style>
<h1>{{with .Status.Self.Name}}{{.}}{{else}}A node of a mesh{{end}}</h1>
<p>The node is {{.Status.State}}.{{with .Status.Self.Addresses}} Its addresses are{{range .}} {{.}}{{end}}.{{end}}</p>
{{with .Status.AuthURL}}<p>Sign in at {{.}}.</p>{{end}}
{{with .Status.Health}}<ul>{{range .}}<li>{{.}}</li>{{end}}</ul>{{end}}
<p><a href="status">status</a>, <a href="metrics">metrics</a>, <a href="netcheck">netcheck</a>
{{- if .Options.Capture}}, <a href="capture?seconds=10">capture</a> of 10 seconds{{end}}
{{- if .Options.Pprof}}, <a href="pprof/">profiles</a>{{end}}</p>
<table>
<tr><th>Peer<th>Addresses<th>Owner<th>Online<th>Path<th>MTU<th>Sent<th>Received<th>Last handshake<th>Routes</tr>
{{range .Status.Peers}}<tr>
<td>{{.Name}}<td>{{range .Addresses}}{{.}}<br>{{end}}<td>{{or .User .Tags}}<td>{{if .Expired}}expired{{else if .Online}}yes{{else}}no{{end}}
<td>{{.Path}}<td>{{with .Path.MTU}}{{.}}{{end}}<td>{{.BytesSent}}<td>{{.BytesReceived}}
<td>{{if not .LastHandshake.IsZero}}{{.LastHandshake.UTC.Format "2006-01-02 15:04:05Z"}}{{end}}<td>{{range .Routes}}{{.}}<br>{{end}}</tr>
{{end}}</table>
`))

func (p *pages) front(w http.ResponseWriter, _ *http.Request) {
	var page bytes.Buffer
	err := frontPage.Execute(&page, struct {
		Status  *meshnet.Status
		Options Options
	}{p.srv.Status(), p.options})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.Write(page.Bytes())
}
