// Node is the program that meshnet.js runs in a worker of a web page: a node of
// the mesh that is told from outside what to do.
//
// It gives the worker one function, meshnet(method, …arguments), which returns a
// promise. What it opens has a number, by which later calls name it:
//
//	up(options)                         joins the mesh
//	status()  ping(name)  whoIs(addr)   as of a Server
//	dial(network, addr)                 → {id, local, remote}
//	listen(network, addr)               → {id, local};  accept(id) → {id, local, remote}, null when closed
//	fetch(request)                      → {id};         head(id) → the response's
//	serve(addr)                         → {id, local};  accept(id) → a request's head;  respond(id, head)
//	read(id) → bytes, null at the end   write(id, bytes)   closeWrite(id)
//	close(id)                           of anything, and of a Server's number, 0, the whole node
package main

import "syscall/js"

func main() {
	p := new(page)
	js.Global().Set("meshnet", js.FuncOf(func(_ js.Value, args []js.Value) any {
		return promise(func() (any, error) { return p.call(args[0].String(), args[1:]) })
	}))
	select {} // all else is called
}

// promise returns a promise of what work returns, which may wait: it has a
// goroutine of its own, as a callback must not.
func promise(work func() (any, error)) js.Value {
	executor := js.FuncOf(func(_ js.Value, args []js.Value) any {
		resolve, reject := args[0], args[1]
		go func() {
			result, err := work()
			if err != nil {
				reject.Invoke(describeError(err))
				return
			}
			resolve.Invoke(result)
		}()
		return nil
	})
	defer executor.Release() // it is called before New returns
	return js.Global().Get("Promise").New(executor)
}
