package command

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func shortDir(t *testing.T) string {
	t.Helper()
	// The path of a Unix socket is short, and t.TempDir's are long.
	dir, err := os.MkdirTemp("", "ml") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// reaches reports whether the listener is the one behind the path.
func reaches(t *testing.T, path string, l net.Listener) bool {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "unix", path)
	if err != nil {
		return false
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	got, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close() //nolint:errcheck // the test's own
	n, err := got.Read(make([]byte, 1))
	return err == nil && n == 1
}

// A socket is for its owner alone, a second one takes its place without a
// moment in which there is none, and the end of the first leaves it there.
func TestListenTakesOver(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	path := filepath.Join(dir, "new", "a.sock")
	first, err := listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
		t.Errorf("socket: %v %v", info.Mode(), err)
	}
	if folder, err := os.Stat(filepath.Dir(path)); err != nil || folder.Mode().Perm() != 0o700 {
		t.Errorf("its folder: %v %v", folder.Mode(), err)
	}
	if !reaches(t, path, first) {
		t.Error("the socket is not reachable")
	}
	second, err := listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close() //nolint:errcheck // the test is over
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if !reaches(t, path, second) {
		t.Error("the second socket is not reachable after the end of the first")
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("left beside the socket: %v %v", left, err)
	}
}

func TestListenFails(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"unix:" + filepath.Join(blocked, "a.sock"), "unix:" + dir, "127.0.0.1:99999", "nowhere"} {
		if l, err := listen(t.Context(), address); err == nil {
			_ = l.Close()
			t.Errorf("%s was bound", address)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
