package udp

const (
	refused  = wsaECONNRESET
	tooLarge = wsaEMSGSIZE
	noRoom   = wsaENOBUFS
)
