package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"os"

	"github.com/mcpgate/mcpgate/registry"
)

// The pages of a bbolt file, format version 2. bbolt trusts them: it follows a
// page number or a length from the map without a look at its bounds, which for
// an altered file ends the process. So they are checked here first, with reads
// that cannot fault.
//
//	page    id u64 | flags u16 | count u16 | overflow u32 | elements…
//	branch  pos u32 | ksize u32 | pgid u64
//	leaf    flags u32 | pos u32 | ksize u32 | vsize u32
//	bucket  root u64 | sequence u64 | the page itself when root is 0
//	meta    magic u32 | version u32 | pageSize u32 | flags u32 | root bucket |
//	        freelist u64 | pgid u64 | txid u64 | checksum u64 (FNV-1a)
//
// All in the byte order of the machine; pos counts from its element.
const (
	pageHeaderBytes = 16
	elementBytes    = 16
	bucketBytes     = 16
	metaBytes       = 64
	metaSummed      = 56

	branchFlag   = 0x01
	leafFlag     = 0x02
	freelistFlag = 0x10
	bucketLeaf   = 0x01

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	minPageSize = 1024
	maxPageSize = 16 << 20

	maxTreeDepth = 64
)

// walkFile checks all pages that the newest meta page leads to, and calls visit
// with each record and the name of its top-level bucket. A bucket inside one of
// those is not ours, and refused.
func walkFile(file *os.File, visit func(bucket, key, value []byte) error) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	m, err := readMetaPages(file, info.Size())
	if err != nil {
		return err
	}
	w := &pageWalk{file: file, meta: m, seen: make([]bool, m.pages), visit: visit}
	w.seen[0], w.seen[1] = true, true
	if err := w.tree(m.root, nil, span{}, 0); err != nil {
		return err
	}
	return w.freelist()
}

type boltMeta struct {
	pageSize              int64
	root, freelist, pages uint64
	txid                  uint64
}

// readMetaPages returns the newer valid one of the two meta pages.
func readMetaPages(file io.ReaderAt, size int64) (boltMeta, error) {
	var best boltMeta
	for _, at := range metaOffsets() {
		var b [metaBytes]byte
		if _, err := file.ReadAt(b[:], at+pageHeaderBytes); err != nil {
			break
		}
		m, ok := parseMeta(b[:])
		if ok && (at == 0 || at == m.pageSize) && (best.pageSize == 0 || m.txid > best.txid) {
			best = m
		}
	}
	switch {
	case best.pageSize == 0:
		return best, corruptf("it is not a bbolt database, or its first pages are damaged")
	case best.pages < 4 || best.pages > math.MaxInt32 || int64(best.pages)*best.pageSize > size: // bounded before
		return best, corruptf("it is truncated: %d pages of %d bytes do not fit in %d bytes", best.pages, best.pageSize, size)
	}
	return best, nil
}

// metaOffsets lists where a meta page can begin: the second one is at the page
// size, of which only the first may tell.
func metaOffsets() []int64 {
	list := []int64{0}
	for n := int64(minPageSize); n <= maxPageSize; n *= 2 {
		list = append(list, n)
	}
	return list
}

func parseMeta(b []byte) (m boltMeta, ok bool) {
	order := binary.NativeEndian
	h := fnv.New64a()
	_, _ = h.Write(b[:metaSummed]) // a hash does not fail
	if order.Uint32(b) != boltMagic || order.Uint32(b[4:]) != boltVersion || order.Uint64(b[metaSummed:]) != h.Sum64() {
		return m, false
	}
	m = boltMeta{
		pageSize: int64(order.Uint32(b[8:])), root: order.Uint64(b[16:]),
		freelist: order.Uint64(b[32:]), pages: order.Uint64(b[40:]), txid: order.Uint64(b[48:]),
	}
	return m, m.pageSize >= minPageSize && m.pageSize <= maxPageSize
}

type pageWalk struct {
	file  io.ReaderAt
	meta  boltMeta
	seen  []bool
	visit func(bucket, key, value []byte) error
	// buffers holds a page for each level of the tree: what a level reads is in
	// use until it has been left.
	buffers [maxTreeDepth + 1][]byte
}

// span is where the keys of a subtree must lie: from lo, before hi. A nil hi is
// no bound.
type span struct{ lo, hi []byte }

func corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", registry.ErrCorrupt, fmt.Sprintf(format, args...))
}

// page reads a page with its overflow into the buffer of a level, and takes it
// out of those that may still be met.
func (w *pageWalk) page(id uint64, depth int) ([]byte, error) {
	if id < 2 || id >= w.meta.pages {
		return nil, corruptf("page %d does not exist", id)
	}
	b, err := w.read(id, 1, depth)
	if err != nil {
		return nil, err
	}
	overflow := uint64(binary.NativeEndian.Uint32(b[12:]))
	if binary.NativeEndian.Uint64(b) != id || overflow >= w.meta.pages-id {
		return nil, corruptf("page %d is damaged", id)
	}
	for i := id; i <= id+overflow; i++ {
		if w.seen[i] {
			return nil, corruptf("page %d is used twice", i)
		}
		w.seen[i] = true
	}
	if overflow > 0 {
		return w.read(id, overflow+1, depth)
	}
	return b, nil
}

// read reads n pages, whose existence has been checked.
func (w *pageWalk) read(id, n uint64, depth int) ([]byte, error) {
	size := int64(n) * w.meta.pageSize // bounded by the size of the file
	if int64(len(w.buffers[depth])) < size {
		w.buffers[depth] = make([]byte, size)
	}
	b := w.buffers[depth][:size]
	if _, err := w.file.ReadAt(b, int64(id)*w.meta.pageSize); err != nil { // as above
		return nil, corruptf("page %d cannot be read: %v", id, err)
	}
	return b, nil
}

// tree checks the subtree of a page of the bucket; nil is the root bucket.
func (w *pageWalk) tree(id uint64, bucket []byte, keys span, depth int) error {
	if depth > maxTreeDepth {
		return corruptf("the tree is deeper than %d pages", maxTreeDepth)
	}
	b, err := w.page(id, depth)
	if err != nil {
		return err
	}
	switch binary.NativeEndian.Uint16(b[8:]) {
	case leafFlag:
		return w.leaf(b, bucket, keys, id, depth)
	case branchFlag:
	default:
		return corruptf("page %d is neither a branch nor a leaf", id)
	}
	count := int(binary.NativeEndian.Uint16(b[10:]))
	elements := make([]element, count)
	for i := range elements {
		if elements[i], err = branchElement(b, i); err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		if err := checkOrder(elements[:i+1], keys); err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
	}
	for i, e := range elements {
		sub := span{lo: e.key, hi: keys.hi}
		if i+1 < count {
			sub.hi = elements[i+1].key
		}
		if err := w.tree(e.page, bucket, sub, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *pageWalk) leaf(b, bucket []byte, keys span, id uint64, depth int) error {
	count := int(binary.NativeEndian.Uint16(b[10:]))
	elements := make([]element, count)
	for i := range elements {
		var err error
		if elements[i], err = leafElement(b, i); err == nil {
			err = checkOrder(elements[:i+1], keys)
		}
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		e := elements[i]
		switch {
		case bucket == nil && e.bucket:
			err = w.bucket(e.key, e.value, id, depth)
		case bucket == nil || e.bucket:
			err = corruptf("page %d has a bucket or a record where the other belongs", id)
		default:
			err = w.visit(bucket, e.key, e.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *pageWalk) bucket(name, value []byte, id uint64, depth int) error {
	if len(value) < bucketBytes {
		return corruptf("page %d has half a bucket", id)
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return w.tree(root, name, span{}, depth+1)
	}
	inline := value[bucketBytes:]
	if len(inline) < pageHeaderBytes || binary.NativeEndian.Uint16(inline[8:]) != leafFlag {
		return corruptf("page %d has a damaged bucket", id)
	}
	return w.leaf(inline, name, span{}, id, depth)
}

type element struct {
	key, value []byte
	page       uint64
	bucket     bool
}

func branchElement(b []byte, i int) (element, error) {
	at := pageHeaderBytes + i*elementBytes
	if at+elementBytes > len(b) {
		return element{}, corruptf("an element lies outside")
	}
	key, err := slice(b, at, binary.NativeEndian.Uint32(b[at:]), 0, binary.NativeEndian.Uint32(b[at+4:]))
	return element{key: key, page: binary.NativeEndian.Uint64(b[at+8:])}, err
}

func leafElement(b []byte, i int) (element, error) {
	at := pageHeaderBytes + i*elementBytes
	if at+elementBytes > len(b) {
		return element{}, corruptf("an element lies outside")
	}
	flags, pos := binary.NativeEndian.Uint32(b[at:]), binary.NativeEndian.Uint32(b[at+4:])
	ksize, vsize := binary.NativeEndian.Uint32(b[at+8:]), binary.NativeEndian.Uint32(b[at+12:])
	if flags > bucketLeaf {
		return element{}, corruptf("an element has unknown flags")
	}
	key, err := slice(b, at, pos, 0, ksize)
	if err != nil {
		return element{}, err
	}
	value, err := slice(b, at, pos, ksize, vsize)
	return element{key: key, value: value, bucket: flags == bucketLeaf}, err
}

// slice is size bytes of b, pos+skip bytes after at.
func slice(b []byte, at int, pos, skip, size uint32) ([]byte, error) {
	start := int64(at) + int64(pos) + int64(skip)
	end := start + int64(size)
	if end > int64(len(b)) {
		return nil, corruptf("an element reaches outside")
	}
	return b[start:end:end], nil
}

// checkOrder checks the last of the elements against the one before and the
// span.
func checkOrder(elements []element, keys span) error {
	n := len(elements)
	key := elements[n-1].key
	switch {
	case n > 1 && bytes.Compare(elements[n-2].key, key) >= 0,
		n == 1 && bytes.Compare(key, keys.lo) < 0,
		keys.hi != nil && bytes.Compare(key, keys.hi) >= 0:
		return corruptf("the key %.100q is out of order", key)
	}
	return nil
}

// freelist checks that no free page is in use: it would be overwritten.
func (w *pageWalk) freelist() error {
	if w.meta.freelist == math.MaxUint64 {
		return nil // not kept in the file; bbolt finds it by a scan
	}
	b, err := w.page(w.meta.freelist, 0)
	if err != nil {
		return err
	}
	if binary.NativeEndian.Uint16(b[8:]) != freelistFlag {
		return corruptf("page %d is not the list of free pages", w.meta.freelist)
	}
	count, ids := uint64(binary.NativeEndian.Uint16(b[10:])), b[pageHeaderBytes:]
	if count == math.MaxUint16 {
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return corruptf("the list of free pages is cut off")
	}
	for i := range count {
		id := binary.NativeEndian.Uint64(ids[i*8:])
		if id < 2 || id >= w.meta.pages || w.seen[id] {
			return corruptf("page %d cannot be free", id)
		}
		w.seen[id] = true
	}
	return nil
}
