package web

import (
	"errors"
	"net/http"
)

// login shows a node that waits.
func (h *handler) login(w http.ResponseWriter, r *http.Request, a *admin) {
	l, err := h.Coordinator.Login(r.Context(), r.PathValue("id"))
	switch {
	case errors.Is(err, ErrNotFound):
		h.show(w, http.StatusNotFound, "gone.html", page{Title: "No node waits here", Admin: a})
	case err != nil:
		h.fail(w, a, err)
	default:
		h.show(w, http.StatusOK, "login.html", page{Title: "A node wants to join", Admin: a, Content: l})
	}
}

// decide lets a node join, or not.
func (h *handler) decide(w http.ResponseWriter, r *http.Request, a *admin) {
	if !a.sent(r) {
		h.show(w, http.StatusForbidden, "error.html", page{Title: "That did not work", Admin: a, Content: "The form is not from this page, or from before you signed in. Go back and send it again."})
		return
	}
	id, approve := r.PathValue("id"), r.PostFormValue("decision") == "approve"
	var err error
	if approve {
		err = h.Coordinator.Approve(r.Context(), id, r.PostFormValue("user"))
	} else {
		err = h.Coordinator.Reject(r.Context(), id)
	}
	if err != nil {
		h.fail(w, a, err)
		return
	}
	h.Log.Info("an administrator decided on a node that waited", "admin", a.Name, "login", id, "approved", approve)
	h.show(w, http.StatusOK, "decided.html", page{Title: "Decided", Admin: a, Content: approve})
}
