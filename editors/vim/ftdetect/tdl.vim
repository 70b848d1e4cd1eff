autocmd BufRead,BufNewFile *.tdl setfiletype tdl
