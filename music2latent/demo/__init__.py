"""A page in the browser to hear the codec with: `server.serving` opens it, `page.build` says what is on it."""
