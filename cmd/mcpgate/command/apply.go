package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcpgate/mcpgate/registry/manifest"
)

type applyOptions struct {
	*globals
	writeFlags
	files []string
	prune bool
}

func newApplyCommand(g *globals) *cobra.Command {
	o := &applyOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Create or change the resources of files, in one transaction.",
		Example: `  mcpgate apply -f registry.yaml
  mcpgate export | mcpgate apply -f - --dry-run
  mcpgate apply -f registry.d/ --prune`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().StringSliceVarP(&o.files, "filename", "f", nil, "File, directory of *.yaml, *.yml and *.json files, or - for standard input.")
	cmd.Flags().BoolVar(&o.prune, "prune", false, "Delete every resource that the files do not contain.")
	o.addTo(cmd.Flags())
	if err := cmd.MarkFlagRequired("filename"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

func (o *applyOptions) run(cmd *cobra.Command) error {
	documents, err := readDocuments(cmd.InOrStdin(), o.files)
	if err != nil {
		return err
	}
	client, err := o.client()
	if err != nil {
		return err
	}
	defer client.Close()
	opt := o.options()
	opt.Prune = o.prune
	if len(o.files) == 1 {
		opt.File = o.files[0]
	}
	answer, err := client.Apply(cmd.Context(), documents, opt)
	if err != nil {
		return err
	}
	return o.report(cmd, answer)
}

// readDocuments joins the documents of files, of the files of directories, and
// of standard input. It reads each by itself first, so that a mistake is told
// with its own file and line, and refuses to have none: an empty input is more
// often a failure before it than the wish to change, or with --prune to
// delete, everything.
func readDocuments(stdin io.Reader, names []string) ([]byte, error) {
	var (
		all   [][]byte
		errs  []error
		count int
	)
	add := func(name string, data []byte) {
		resources, err := manifest.Parse(name, data)
		if err != nil {
			errs = append(errs, err)
		}
		count += len(resources)
		all = append(all, data)
	}
	for _, name := range names {
		if name == "-" {
			data, err := io.ReadAll(stdin)
			if err != nil {
				return nil, fmt.Errorf("read standard input: %w", err)
			}
			add("standard input", data)
			continue
		}
		files, err := expand(name)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			data, err := os.ReadFile(file) //nolint:gosec // the user names the file
			if err != nil {
				return nil, fmt.Errorf("read documents: %w", err)
			}
			add(file, data)
		}
	}
	if len(errs) == 0 && count == 0 {
		return nil, errors.New("no documents in " + strings.Join(names, ", "))
	}
	return bytes.Join(all, []byte("\n---\n")), errors.Join(errs...)
}

func expand(name string) ([]string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read documents: %w", err)
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	var files []string
	for _, pattern := range []string{"*.yaml", "*.yml", "*.json"} {
		found, err := filepath.Glob(filepath.Join(name, pattern))
		if err != nil {
			return nil, fmt.Errorf("read directory %s: %w", name, err)
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		return nil, errors.New("no *.yaml, *.yml or *.json file in " + name)
	}
	slices.Sort(files)
	return files, nil
}
