// A GET with net/http, whose default transport takes the proxy from the environment.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	answer, err := http.Get(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer answer.Body.Close()
	fmt.Println(answer.Status)
	io.Copy(os.Stdout, answer.Body)
}
