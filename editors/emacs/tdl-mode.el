;;; tdl-mode.el --- The tdl tensor language  -*- lexical-binding: t -*-

;;; Commentary:
;; A mode for .tdl files; Eglot (part of Emacs since 29) starts `tdl lsp' in it.

;;; Code:

(define-derived-mode tdl-mode prog-mode "tdl"
  "Major mode for tdl programs."
  (setq-local comment-start "# ")
  (setq-local comment-start-skip "#+ *")
  (setq-local indent-tabs-mode nil)
  (setq-local tab-width 2)
  (modify-syntax-entry ?# "<")
  (modify-syntax-entry ?\n ">")
  (modify-syntax-entry ?\" "\"")
  (modify-syntax-entry ?_ "_")
  (setq-local font-lock-defaults
              '((("\\_<\\(fn\\|let\\|mut\\|struct\\|impl\\|interface\\|import\\|const\\|type\\|if\\|else\\|for\\|while\\|in\\|break\\|continue\\|return\\|and\\|or\\|not\\|as\\|where\\|assert\\|some\\|io\\|test\\|prop\\|bench\\)\\_>" . font-lock-keyword-face)
                 ("\\_<\\(f16\\|bf16\\|f32\\|f64\\|i8\\|i16\\|i32\\|i64\\|u8\\|u32\\|u64\\|bool\\|str\\|Rng\\|[A-Z]\\w*\\)\\_>" . font-lock-type-face)
                 ("\\_<\\(self\\|true\\|false\\|inf\\|nan\\)\\_>" . font-lock-constant-face)))))

;;;###autoload
(add-to-list 'auto-mode-alist '("\\.tdl\\'" . tdl-mode))

(with-eval-after-load 'eglot
  (add-to-list 'eglot-server-programs '(tdl-mode . ("tdl" "lsp"))))

(provide 'tdl-mode)
;;; tdl-mode.el ends here
