package layers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/meshnet-go/meshnet"

// testOnly may be imported by tests anywhere, and by nothing else.
var testOnly = []string{"internal/leak"}

// A file is a Go file of the library that is not a test.
type file struct {
	dir  string // folder in the module, "." for the root
	path string
	ast  *ast.File
}

// library parses all files of all build tags in the module, leaving out tests
// and the modules below.
func library(t *testing.T) (files []file, fset *token.FileSet) {
	t.Helper()
	root := "../.."
	fset = token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, statErr := os.Stat(filepath.Join(path, "go.mod"))
			if path != root && (statErr == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, _ := filepath.Rel(root, filepath.Dir(path))
		files = append(files, file{filepath.ToSlash(dir), path, parsed})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("found only %d files: the test looks in the wrong place", len(files))
	}
	return files, fset
}

// expand reads a line of names, with a{b,c} for ab and ac.
func expand(line string) (names []string) {
	for _, word := range strings.Fields(line) {
		before, rest, braced := strings.Cut(word, "{")
		if !braced {
			names = append(names, word)
			continue
		}
		for _, part := range strings.Split(strings.TrimSuffix(rest, "}"), ",") {
			names = append(names, before+part)
		}
	}
	return names
}

// level returns the line of the policy on which a folder stands.
func level(dir string) (int, bool) {
	for i, line := range strings.Split(strings.TrimSpace(policy), "\n") {
		for _, name := range expand(line) {
			below, all := strings.CutSuffix(name, "...")
			if name == dir || all && strings.HasPrefix(dir, below) {
				return i, true
			}
		}
	}
	return 0, false
}

func imports(f file) (paths []string) {
	for _, spec := range f.ast.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		paths = append(paths, path)
	}
	return paths
}

// folder returns the folder of an import path of this module.
func folder(path string) (string, bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

func TestImportsPointUpwards(t *testing.T) {
	files, _ := library(t)
	for _, f := range files {
		if slices.Contains(testOnly, f.dir) {
			continue
		}
		own, ok := level(f.dir)
		if !ok {
			t.Errorf("%s: package %s stands on no line of the policy", f.path, f.dir)
			continue
		}
		for _, path := range imports(f) {
			dir, ours := folder(path)
			if !ours {
				continue
			}
			above, known := level(dir)
			if !known || above >= own {
				t.Errorf("%s: %s imports %s, which does not stand above it", f.path, f.dir, dir)
			}
			if f.dir == "." && dir == "coord" {
				t.Errorf("%s: a node does not carry the coordinator with it", f.path)
			}
		}
	}
}

// The table of packages in ARCHITECTURE.md is how a stranger finds the place for
// a change.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	files, _ := library(t)
	named := make(map[string]bool)
	for _, f := range files {
		if f.dir == "." || strings.HasPrefix(f.dir, "examples/") || named[f.dir] {
			continue
		}
		named[f.dir] = true
		if !strings.Contains(string(text), "`"+f.dir+"`") {
			t.Errorf("ARCHITECTURE.md does not name the package %s", f.dir)
		}
	}
}

func TestModulesStayInTheirPackage(t *testing.T) {
	rule := strings.Fields(only)
	files, _ := library(t)
	for _, f := range files {
		for _, path := range imports(f) {
			if strings.HasPrefix(path, rule[0]) && f.dir != rule[1] {
				t.Errorf("%s imports %s; only %s may", f.path, path, rule[1])
			}
			if strings.HasPrefix(path, "tailscale.com") {
				t.Errorf("%s imports %s; only the interop modules may", f.path, path)
			}
		}
	}
}

func TestPurePackagesDecideAndDoNothing(t *testing.T) {
	clock := []string{"Now", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Since", "Until"}
	noIO := []string{"net", "net/http", "os", "os/exec", "syscall", "crypto/tls"}
	names := expand(pure)
	files, fset := library(t)
	for _, f := range files {
		if !slices.Contains(names, f.dir) {
			continue
		}
		for _, path := range imports(f) {
			if slices.Contains(noIO, path) {
				t.Errorf("%s: a pure package imports %s", f.path, path)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a pure package starts a goroutine", fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, n.Sel.Name) {
					t.Errorf("%s: a pure package calls time.%s", fset.Position(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
	}
}

// TestTheLibraryKeepsToItself holds what an embedded library owes the program
// around it.
func TestTheLibraryKeepsToItself(t *testing.T) {
	files, fset := library(t)
	for _, f := range files {
		if strings.HasPrefix(f.dir, "cmd/") || strings.HasPrefix(f.dir, "examples/") || slices.Contains(testOnly, f.dir) {
			continue
		}
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: the library has no init functions", fset.Position(fn.Pos()))
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "os" && slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "Setenv", "Args", "Exit"}, sel.Sel.Name) {
				t.Errorf("%s: the library does not use os.%s", fset.Position(n.Pos()), sel.Sel.Name)
			}
			return true
		})
	}
}

// TestPublicSignaturesShowNoInternalType reads the exported declarations of
// the public packages: a caller could not name such a type.
func TestPublicSignaturesShowNoInternalType(t *testing.T) {
	files, fset := library(t)
	for _, f := range files {
		if strings.HasPrefix(f.dir, "internal/") || strings.HasPrefix(f.dir, "cmd/") || strings.HasPrefix(f.dir, "examples/") {
			continue
		}
		internal := internalNames(f)
		if len(internal) == 0 {
			continue
		}
		for _, shown := range exported(f.ast) {
			ast.Inspect(shown, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(internal, x.Name) {
						t.Errorf("%s: %s.%s stands in a public declaration", fset.Position(n.Pos()), x.Name, sel.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

// internalNames returns the names under which a file imports internal packages.
func internalNames(f file) (names []string) {
	for _, spec := range f.ast.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if !strings.HasPrefix(path, module+"/internal/") {
			continue
		}
		name := path[strings.LastIndex(path, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names = append(names, name)
	}
	return names
}

// exported returns the parts of a file's declarations that callers see.
func exported(f *ast.File) (nodes []ast.Node) {
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || receiverExported(d)) {
				nodes = append(nodes, d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() {
						nodes = append(nodes, exportedType(s.Type)...)
					}
				case *ast.ValueSpec:
					if s.Names[0].IsExported() && s.Type != nil {
						nodes = append(nodes, s.Type)
					}
				}
			}
		}
	}
	return nodes
}

func receiverExported(d *ast.FuncDecl) bool {
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

// exportedType leaves out the unexported fields of a struct.
func exportedType(typ ast.Expr) (nodes []ast.Node) {
	st, ok := typ.(*ast.StructType)
	if !ok {
		return []ast.Node{typ}
	}
	for _, field := range st.Fields.List {
		if len(field.Names) == 0 || field.Names[0].IsExported() {
			nodes = append(nodes, field.Type)
		}
	}
	return nodes
}
