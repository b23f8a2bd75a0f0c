// Reads one JSON string a line, each a Dagger Shell script, and answers each with one line of JSON: the words of every stage
// of every pipeline, after quotes are taken off, or the error. The parser and the expansion are those that the dagger
// CLI v0.21.8 uses, set up as it sets them up (https://github.com/dagger/dagger/blob/v0.21.8/cmd/dagger/shell.go).
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

type answer struct {
	Pipelines [][][]string `json:"pipelines"`
	Error     string       `json:"error,omitempty"`
}

func main() {
	in := bufio.NewReader(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var script string
		result := answer{}
		if err := json.Unmarshal(line, &script); err != nil {
			result.Error = err.Error()
		} else if result.Pipelines, err = pipelines(script); err != nil {
			result.Error = err.Error()
		}
		if out.Encode(result) != nil {
			return
		}
	}
}

func pipelines(script string) ([][][]string, error) {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(script), "")
	if err != nil {
		return nil, err
	}
	var found [][][]string
	for _, stmt := range file.Stmts {
		stages, err := stagesOf(stmt)
		if err != nil {
			return nil, err
		}
		found = append(found, stages)
	}
	return found, nil
}

func stagesOf(stmt *syntax.Stmt) ([][]string, error) {
	if stmt.Background || stmt.Negated || len(stmt.Redirs) > 0 {
		return nil, fmt.Errorf("more than a pipeline at %s", stmt.Pos())
	}
	switch command := stmt.Cmd.(type) {
	case *syntax.CallExpr:
		if len(command.Assigns) > 0 {
			return nil, fmt.Errorf("an assignment at %s", command.Pos())
		}
		words, err := expand.Fields(config(), command.Args...)
		return [][]string{words}, err
	case *syntax.BinaryCmd:
		if command.Op != syntax.Pipe {
			return nil, fmt.Errorf("%s at %s", command.Op, command.OpPos)
		}
		left, err := stagesOf(command.X)
		if err != nil {
			return nil, err
		}
		right, err := stagesOf(command.Y)
		return append(left, right...), err
	default:
		return nil, fmt.Errorf("%T at %s", command, stmt.Pos())
	}
}

// Nothing may be expanded: every variable is unset, which is an error, and so is a look at a folder.
func config() *expand.Config {
	return &expand.Config{
		NoUnset: true,
		Env:     expand.ListEnviron(),
		ReadDir2: func(dir string) ([]fs.DirEntry, error) {
			return nil, fmt.Errorf("a pattern that matches files of %s", dir)
		},
	}
}
