package meshnet

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every function, method and type that users see is in one of the examples,
// which run.
func TestEveryNameIsInAnExample(t *testing.T) {
	fset := token.NewFileSet()
	shown := make(map[string]bool)
	examples, err := filepath.Glob("example_*test.go")
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, path := range examples {
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if name, ok := n.(*ast.Ident); ok {
				shown[name.Name] = true
			}
			return true
		})
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, e.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range exported(t, file) {
			if !shown[name] {
				t.Errorf("%s: no example has %s", e.Name(), name)
			}
		}
	}
}

// unnamed are methods that package fmt and its like call, and types that programs
// get or give without naming them.
var unnamed = map[string]bool{
	"String": true, "Format": true, "LogValue": true, "Error": true, "Unwrap": true,
	"FallbackTCPHandler": true, "FallbackUDPHandler": true,
	"PeerStatus": true, "Path": true, "RelayLatency": true, "Answer": true, "State": true, "PingResult": true, "PingKind": true, "User": true,
}

// exported returns the names in a file that users see, each of which has a
// comment.
func exported(t *testing.T, file *ast.File) (names []string) {
	add := func(name string, doc *ast.CommentGroup) {
		if !ast.IsExported(name) {
			return
		}
		if doc == nil {
			t.Errorf("%s has no comment", name)
		}
		if !unnamed[name] {
			names = append(names, name)
		}
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || ast.IsExported(receiver(d)) {
				add(d.Name.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					add(spec.Name.Name, d.Doc)
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						if d.Tok == token.VAR {
							add(name.Name, firstDoc(spec.Doc, d.Doc))
						}
					}
				}
			}
		}
	}
	return names
}

func firstDoc(docs ...*ast.CommentGroup) *ast.CommentGroup {
	for _, d := range docs {
		if d != nil {
			return d
		}
	}
	return nil
}

func receiver(d *ast.FuncDecl) string {
	typ := d.Recv.List[0].Type
	if pointer, ok := typ.(*ast.StarExpr); ok {
		typ = pointer.X
	}
	if name, ok := typ.(*ast.Ident); ok {
		return name.Name
	}
	return "" // of a generic type
}
