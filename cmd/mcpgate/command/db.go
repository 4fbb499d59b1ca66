package command

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/boltstore"
)

func newDBCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "db",
		Short: "Check, back up and restore the registry's file.",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newDBCheckCommand(g), newDBBackupCommand(g), newDBRestoreCommand(g))
	return cmd
}

func newDBCheckCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "check [FILE]",
		Short:   "Check a registry file that no gateway has open.",
		Example: "  mcpgate db check mcpgate-data/registry.db",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := g.storeFile(args)
			if err != nil {
				return err
			}
			if err := boltstore.Check(path); err != nil {
				return lockedHint(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is sound\n", path)
			return err
		},
	}
}

func newDBBackupCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "backup FILE",
		Short:   "Copy the registry of the running gateway into a new file.",
		Example: "  mcpgate db backup registry-backup.db",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			client, err := g.client()
			if err != nil {
				return err
			}
			defer client.Close()
			f, err := os.OpenFile(args[0], os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return fmt.Errorf("create backup: %w", err)
			}
			defer func() {
				if err != nil {
					err = errors.Join(err, os.Remove(args[0]))
				}
			}()
			if err := errors.Join(client.Backup(cmd.Context(), f), f.Sync(), f.Close()); err != nil {
				return fmt.Errorf("write backup: %w", err)
			}
			if err := boltstore.Check(args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s written and checked\n", args[0])
			return err
		},
	}
}

func newDBRestoreCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "restore BACKUP [FILE]",
		Short: "Put a backup in the place of a registry file that no gateway has open.",
		Long: `Put a backup in the place of a registry file that no gateway has open.

The backup is checked first. A registry that is there already stays beside the
restored one as FILE.replaced.`,
		Example: "  mcpgate db restore registry-backup.db",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			path, err := g.storeFile(args[1:])
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("open backup: %w", err)
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			// On a new machine there is no data directory yet.
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return fmt.Errorf("create directory: %w", err)
			}
			if err := boltstore.Restore(path, f); err != nil {
				return lockedHint(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s restored\n", path)
			return err
		},
	}
}

// storeFile is the file named, or that of the configuration.
func (g *globals) storeFile(args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	c, err := g.config()
	return c.Store.Bolt.Path, err
}

func lockedHint(err error) error {
	if errors.Is(err, registry.ErrLocked) {
		return withHint(err, "stop the gateway that has it open, or use mcpgate db backup")
	}
	return err
}
