// Reads an evidence log with the packages that the go command itself uses for the Go checksum database, none of which is
// ours: golang.org/x/mod/sumdb/note and tlog. Usage: reader VKEY DIRECTORY [OLD-CHECKPOINT]
//
// The signature of the checkpoint, every tile (tlog authenticates each against the root when it is read), every record's
// hash, a proof of every 50th record, and the proof that the old checkpoint is of a beginning of the log.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must(err error) {
	if err != nil {
		fmt.Println("NOT VALID:", err)
		os.Exit(1)
	}
}

// path turns tlog's tile/8/<L>/<N> and tile/8/data/<N> into C2SP's tile/<L>/<N> and tile/entries/<N>.
func path(directory string, tile tlog.Tile) string {
	name := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
	return filepath.Join(directory, strings.Replace(name, "tile/data/", "tile/entries/", 1))
}

type tiles struct{ directory string }

func (t tiles) Height() int { return 8 }

func (t tiles) ReadTiles(wanted []tlog.Tile) (found [][]byte, err error) {
	for _, tile := range wanted {
		data, err := os.ReadFile(path(t.directory, tile))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func open(file string, verifier note.Verifier) tlog.Tree {
	data, err := os.ReadFile(file)
	must(err)
	opened, err := note.Open(data, note.VerifierList(verifier))
	must(err)
	lines := strings.Split(opened.Text, "\n")
	if lines[0] != verifier.Name() {
		must(fmt.Errorf("origin %q", lines[0]))
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	hash, err := tlog.ParseHash(lines[2])
	must(err)
	return tlog.Tree{N: size, Hash: hash}
}

func main() {
	verifier, err := note.NewVerifier(os.Args[1])
	must(err)
	directory := os.Args[2]
	tree := open(filepath.Join(directory, "checkpoint"), verifier)
	hashes := tlog.TileHashReader(tree, tiles{directory})
	if len(os.Args) > 3 {
		old := open(os.Args[3], verifier)
		proof, err := tlog.ProveTree(tree.N, old.N, hashes)
		must(err)
		must(tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash))
	}
	for n := int64(0); n < tree.N; n += 256 {
		tile := tlog.Tile{H: 8, L: -1, N: n / 256, W: 256}
		if n+256 > tree.N {
			tile.W = int(tree.N - n)
		}
		data, err := os.ReadFile(path(directory, tile))
		must(err)
		for index := n; index < n+int64(tile.W); index++ {
			end := 2 + int(binary.BigEndian.Uint16(data))
			leaf := tlog.RecordHash(data[2:end])
			data = data[end:]
			stored, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
			must(err)
			if stored[0] != leaf {
				must(fmt.Errorf("record %d", index))
			}
			if index%50 == 0 {
				proof, err := tlog.ProveRecord(tree.N, index, hashes)
				must(err)
				must(tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf))
				for _, hash := range proof {
					fmt.Println(index, hash)
				}
			}
		}
		if len(data) > 0 {
			must(fmt.Errorf("%d bytes behind the records of %s", len(data), tile.Path()))
		}
	}
	fmt.Println("valid", tree.N)
}
