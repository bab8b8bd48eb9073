package udp

const refused = wsaECONNRESET
