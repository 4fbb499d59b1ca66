package listfilter

import "bytes"

// event is one server-sent event (HTML Living Standard, section 9.2.6). Its
// byte slices are valid until the next call of its source.
type event struct {
	// id, name and retry are the lines of these fields whole, without the line
	// end; empty when the event has none.
	id, name, retry []byte
	// data is what stands after "data:" on all such lines, joined with LF;
	// hasData is false if there was no such line.
	data    []byte
	hasData bool
}

// eventReader assembles events from pieces of a stream. Lines end in LF, CR or
// CRLF; one leading byte order mark is ignored; an event ends with an empty
// line. An event that never ends is never reported.
type eventReader struct {
	// limit bounds the bytes that one event and its unfinished line take.
	limit int
	// emit is called for each event that is finished.
	emit func(*event) error
	// comment is called for each comment line, wherever it stands.
	comment func(line []byte) error

	event event
	// line is the beginning of a line whose end is still to come.
	line []byte
	// skipLF is true after a CR: an LF that follows belongs to it.
	skipLF bool
	// begun is true when the place of the byte order mark is behind us.
	begun bool
}

const (
	byteOrderMark = "\uFEFF"
	// keepBuffer is the largest buffer that is kept for the next event.
	keepBuffer = 64 << 10
)

// feed reads a piece of the stream.
func (r *eventReader) feed(piece []byte) error {
	// Offsets of the next LF and CR: each byte is searched once for each of
	// them, also in a stream that has only one of the two.
	lf, cr := -1, -1
	for pos := 0; pos < len(piece); {
		if r.skipLF {
			r.skipLF = false
			if piece[pos] == '\n' {
				pos++
				continue
			}
		}
		lf, cr = nextByte(piece, '\n', pos, lf), nextByte(piece, '\r', pos, cr)
		end := min(lf, cr)
		line := piece[pos:end]
		if r.held()+len(line) > r.limit {
			return reasonSize
		}
		if end == len(piece) {
			r.line = append(r.line, line...)
			return nil
		}
		r.skipLF = end == cr
		pos = end + 1
		if len(r.line) > 0 {
			r.line = append(r.line, line...)
			line = r.line
		}
		if err := r.lineEnd(line); err != nil {
			return err
		}
		r.line = r.line[:0]
	}
	return nil
}

// nextByte returns the offset of the first c at or after pos, len(piece) if
// there is none; last is what it returned before.
func nextByte(piece []byte, c byte, pos, last int) int {
	if last >= pos {
		return last
	}
	if i := bytes.IndexByte(piece[pos:], c); i >= 0 {
		return pos + i
	}
	return len(piece)
}

// held is how many bytes of an unfinished event are in memory.
func (r *eventReader) held() int {
	e := &r.event
	return len(r.line) + len(e.data) + len(e.id) + len(e.name) + len(e.retry)
}

func (r *eventReader) lineEnd(line []byte) error {
	if !r.begun {
		r.begun = true
		line = bytes.TrimPrefix(line, []byte(byteOrderMark))
	}
	if len(line) == 0 {
		return r.dispatch()
	}
	field, value, _ := bytes.Cut(line, []byte(":"))
	e := &r.event
	switch string(field) {
	case "":
		return r.comment(line)
	case "data":
		if e.hasData {
			e.data = append(e.data, '\n')
		}
		e.hasData = true
		e.data = append(e.data, bytes.TrimPrefix(value, []byte(" "))...)
	case "id":
		// An id with NUL does not count, as the standard has it.
		if bytes.IndexByte(value, 0) < 0 {
			e.id = append(e.id[:0], line...)
		}
	case "event":
		e.name = append(e.name[:0], line...)
	case "retry":
		e.retry = append(e.retry[:0], line...)
	}
	// Other fields mean nothing to a reader and are left out.
	return nil
}

// dispatch reports the event that an empty line ends and begins the next.
func (r *eventReader) dispatch() error {
	e := &r.event
	if !e.hasData && len(e.id)+len(e.name)+len(e.retry) == 0 {
		// The empty line after a comment, or one too many.
		return nil
	}
	err := r.emit(e)
	*e = event{id: e.id[:0], name: e.name[:0], retry: e.retry[:0], data: e.data[:0]}
	if cap(e.data) > keepBuffer {
		e.data = nil
	}
	if cap(r.line) > keepBuffer {
		r.line = nil
	}
	return err
}

// eventWriter writes server-sent events with LF as the line end.
type eventWriter struct {
	// write takes the bytes over before it returns.
	write func([]byte) error
}

// comment writes a comment line, by itself.
func (w eventWriter) comment(line []byte) error {
	if err := w.line(line); err != nil {
		return err
	}
	return w.write([]byte("\n"))
}

// event writes e with the pieces of m as its data; without data if m is nil.
func (w eventWriter) event(e *event, m *message) error {
	for _, line := range [...][]byte{e.name, e.id, e.retry} {
		if err := w.line(line); err != nil {
			return err
		}
	}
	if m != nil {
		if err := w.write([]byte("data: ")); err != nil {
			return err
		}
		for piece := range m.pieces() {
			if err := w.data(piece); err != nil {
				return err
			}
		}
		if err := w.write([]byte("\n")); err != nil {
			return err
		}
	}
	return w.write([]byte("\n"))
}

// data writes a piece of the data: every LF in it begins another data line.
func (w eventWriter) data(piece []byte) error {
	for {
		before, after, more := bytes.Cut(piece, []byte("\n"))
		if err := w.write(before); err != nil || !more {
			return err
		}
		if err := w.write([]byte("\ndata: ")); err != nil {
			return err
		}
		piece = after
	}
}

// line writes a line, nothing if it is empty.
func (w eventWriter) line(line []byte) error {
	if len(line) == 0 {
		return nil
	}
	if err := w.write(line); err != nil {
		return err
	}
	return w.write([]byte("\n"))
}
