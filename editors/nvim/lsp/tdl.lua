-- Read by `vim.lsp.enable('tdl')` (Neovim 0.11 and later).
return {
  cmd = { 'tdl', 'lsp' },
  filetypes = { 'tdl' },
  root_markers = { '.git' },
}
