package extauthz

import (
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func (t trie[V]) contents() map[string]V {
	all := make(map[string]V)
	t.each(func(key string) { all[key], _ = t.get(key) })
	return all
}

func TestTrieIsAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			trie trie[int]
			want map[string]int
		}
		now := version{newTrie[int](), map[string]int{}}
		var versions []version
		key := rapid.StringMatching(`[a-d]{0,3}`)
		for i := range rapid.IntRange(1, 60).Draw(t, "versions") {
			e := new(edit)
			for range rapid.IntRange(1, 4).Draw(t, "changes") {
				k := key.Draw(t, "key")
				if rapid.Bool().Draw(t, "set") {
					now.trie, now.want[k] = now.trie.set(e, k, i), i
				} else {
					now.trie = now.trie.unset(e, k)
					delete(now.want, k)
				}
			}
			versions = append(versions, version{now.trie, maps.Clone(now.want)})
		}
		// What was published stays as it was, whatever came later.
		for i, v := range versions {
			if diff := cmp.Diff(v.want, v.trie.contents()); diff != "" {
				t.Fatalf("version %d of %d (-want +got):\n%s", i, len(versions), diff)
			}
		}
	})
}

// TestTrieCollisions puts entries where the hash has no more bits, which no
// test can reach by keys alone.
func TestTrieCollisions(t *testing.T) {
	t.Parallel()
	const same = 0x5555
	var n *trieNode[int]
	e := new(edit)
	tr := newTrie[int]()
	for i := range 5 {
		n = n.set(e, tr.seed, same, trieDepth, trieSlot[int]{key: fmt.Sprint(i), value: i})
	}
	old := n
	e = new(edit)
	n = n.set(e, tr.seed, same, trieDepth, trieSlot[int]{key: "3", value: 33})
	n = n.unset(e, same, trieDepth, "1")
	if i, ok := n.find(same, trieDepth, "3"); !ok || n.slots[i].value != 33 {
		t.Errorf("replaced entry: %v", n.slots)
	}
	if _, ok := n.find(same, trieDepth, "1"); ok || len(n.slots) != 4 || len(old.slots) != 5 {
		t.Errorf("removed entry: %v, was %v", n.slots, old.slots)
	}
	for _, key := range []string{"0", "2", "3", "4"} {
		n = n.unset(e, same, trieDepth, key)
	}
	if n != nil {
		t.Errorf("empty node stays: %v", n)
	}
}
